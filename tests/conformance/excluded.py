"""The node tests that do not run, each with the reason, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from node_tests import node_tests


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why the tests whose names match ``pattern`` do not run.

    ``refusal``: what the importer says of such a file (a regular expression); "" where the file is
    imported and only the chip's numbers (int8, static scales) have no place for the test.
    """

    pattern: str
    reason: str
    refusal: str = ""


_RANK = "the chip's windows slide over rows and columns of an image, not over 1 or 3 axes"
_BYTES = "the chip's tensors are 8-bit integers"
_ACTIVATIONS = "two activations are only added on the chip"
_UNFOLDED = "a constant is folded into the layer before it; alone it is no layer"
_HOST = "the host computes it, in floating point"
_MOVES = "data would move between rows, columns and channels"
_FRAMES = "frames of a batch would mix"
_BORDER = "values of the image would be copied around it"
_QUANTISED = "quantised tensors are int8 or uint8 with one scale"

EXCLUDED: tuple[Exclusion, ...] = (
    # windows
    Exclusion("test_*pool_[13]d_*", _RANK, "needs an input of|2-D|not .channels, rows"),
    # arithmetic
    Exclusion("test_add_*int16", _BYTES),
    Exclusion("test_add_uint32", _BYTES),
    Exclusion("test_add_uint64", _BYTES),
    Exclusion("test_add_bcast", _UNFOLDED),
    Exclusion("test_sub*", _ACTIVATIONS),
    Exclusion("test_mul*", _ACTIVATIONS),
    Exclusion("test_div*", _ACTIVATIONS),
    Exclusion("test_sum_example", "a sum of three needs a scale for the first two"),
    Exclusion("test_reduce_mean_*", "means run over all rows and columns of an image", "mean"),
    Exclusion("test_*softmax*", _HOST),
    # matrices
    Exclusion("test_gemm_transposeA", _FRAMES, "first operand"),
    Exclusion("test_gemm_all_attributes", _FRAMES, "first operand"),
    Exclusion("test_gemm_default_matrix_bias", "the bias differs from frame to frame", "bias"),
    # data that moves, or between frames
    Exclusion("test_concat_2d_axis_0", _MOVES, "over the batch"),
    Exclusion("test_concat_2d_axis_negative_2", _MOVES, "over the batch"),
    Exclusion("test_concat_3d_axis_1", _MOVES, "channel axis"),
    Exclusion("test_concat_3d_axis_negative_2", _MOVES, "channel axis"),
    Exclusion("test_flatten_*axis[04]", _FRAMES, "mixes frames"),
    Exclusion("test_flatten_axis[23]", _FRAMES, "mixes frames"),
    Exclusion("test_flatten_negative_axis[12]", _FRAMES, "mixes frames"),
    Exclusion("test_squeeze", _FRAMES, "mixes frames"),
    Exclusion("test_unsqueeze_axis_0", _FRAMES, "mixes frames"),
    Exclusion("test_reshape_reordered_last_dims", _MOVES, "moves data"),
    Exclusion("test_reshape_negative_dim", _MOVES, "moves data"),
    Exclusion("test_reshape_extended_dims", _MOVES, "moves data"),
    Exclusion("test_reshape_reordered_all_dims", _FRAMES, "mixes frames"),
    Exclusion("test_reshape_negative_extended_dims", _FRAMES, "mixes frames"),
    Exclusion("test_reshape_one_dim", _FRAMES, "mixes frames"),
    Exclusion("test_reshape_allowzero_reordered", "the batch is empty", "mixes frames"),
    Exclusion("test_transpose_all_permutations_1", _MOVES, "moves data"),
    Exclusion("test_transpose_all_permutations_[2345]", _FRAMES, "batch axis"),
    Exclusion("test_transpose_default", _FRAMES, "batch axis"),
    Exclusion("test_constant_pad", "the constant is not 0", "padded|pads axes"),
    Exclusion("test_constant_pad_*axes", "the constant is not 0", "padded|pads axes"),
    Exclusion("test_edge_pad", _BORDER, "copies data"),
    Exclusion("test_reflect_pad", _BORDER, "copies data"),
    Exclusion("test_wrap_pad", _BORDER, "copies data"),
    # types
    Exclusion("test_identity_sequence", "a sequence is no tensor"),
    Exclusion("test_identity_opt", "a sequence is no tensor"),
    Exclusion("test_cast*", "other types than int8 exist on the host only"),
    Exclusion("test_*quantizelinear_*", _QUANTISED),
    # statistics and randomness of training
    Exclusion("test_batchnorm_*_training_mode", "statistics of the batch", "evaluation mode"),
    Exclusion("test_training_dropout_default*", "random", "evaluation mode"),
    Exclusion("test_training_dropout", "random", "evaluation mode"),
    Exclusion("test_training_dropout_mask", "random", "evaluation mode"),
)


def exclusion_of(name: str) -> Exclusion | None:
    """The first line of the table that matches; None for a test that runs."""
    return next((line for line in EXCLUDED if fnmatchcase(name, line.pattern)), None)


#: names of the tests that run
RUN = tuple(name for name in node_tests() if exclusion_of(name) is None)
