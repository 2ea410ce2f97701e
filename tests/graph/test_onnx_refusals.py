"""Files that cannot be imported are refused in one sentence with file, node and way out."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_models import constant, model, save, weights

from fragenv.errors import ModelError
from fragenv.graph.check import check_graph
from fragenv.graph.from_onnx import from_onnx

node = helper.make_node
W = weights(w=(4, 3, 3, 3))
FLAT = constant("flat", [1, 192], np.int64)

# name -> nodes, initialisers, input shape, what the message says
REFUSED = {
    "transposed": (
        [node("ConvTranspose", ["x", "t"], ["y"], "up")],
        weights(t=(3, 4, 2, 2)),
        None,
        r"node 'up' \(ConvTranspose\): transposed convolutions",
    ),
    "unknown": (
        [node("Sigmoid", ["x"], ["y"], "s")],
        (),
        None,
        r"node 's' \(Sigmoid\).*replace it",
    ),
    "custom": ([node("Magic", ["x"], ["y"], "m", domain="my.ops")], (), None, "domain 'my.ops'"),
    "cycle": (
        [
            node("Add", ["x", "b"], ["a"], "first"),
            node("Relu", ["a"], ["b"], "second"),
            node("Relu", ["b"], ["y"], "last"),
        ],
        (),
        None,
        "cycle: first -> second",
    ),
    "missing weight": ([node("Conv", ["x", "w"], ["y"], "c")], (), None, "nothing provides 'w'"),
    "two producers": (
        [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"], "again")],
        (),
        None,
        "two producers",
    ),
    "missing output": ([node("Relu", ["x"], ["z"])], (), None, "nothing provides output 'y'"),
    "dynamic size": (
        [node("Conv", ["x", "w"], ["y"])],
        W,
        ("N", 3, "height", 8),
        r"dynamic size 'height' on axis 2.*dims=\{'height': size\}",
    ),
    "unnamed size": ([node("Conv", ["x", "w"], ["y"])], W, (1, 3, None, 8), "without a name"),
    "1-D": ([node("Conv", ["x", "v"], ["y"], "c")], weights(v=(4, 3, 3)), (1, 3, 8), "2-D"),
    "channels": ([node("Conv", ["x", "v"], ["y"])], weights(v=(4, 5, 3, 3)), None, "does not fit"),
    "kernel too large": (
        [node("Conv", ["x", "v"], ["y"])],
        weights(v=(4, 3, 9, 9)),
        None,
        "window of 9",
    ),
    "computed weight": (
        [node("Relu", ["x"], ["r"]), node("Conv", ["x", "r"], ["y"])],
        (),
        None,
        "not a constant",
    ),
    "attention": ([node("MatMul", ["x", "x"], ["y"])], (), None, "only constant weights multiply"),
    "batched weight": (
        [node("MatMul", ["x", "v"], ["y"])],
        weights(v=(3, 8, 4)),
        None,
        "not a matrix",
    ),
    "product": (
        [node("Relu", ["x"], ["r"]), node("Mul", ["r", "x"], ["y"])],
        (),
        None,
        "only be added",
    ),
    "broadcast": (
        [node("GlobalAveragePool", ["x"], ["g"]), node("Add", ["x", "g"], ["y"])],
        (),
        None,
        "broadcasting",
    ),
    "reciprocal": ([node("Div", ["one", "x"], ["y"])], weights(one=(1,)), None, "dividing by"),
    "plane constant": (
        [node("Add", ["x", "v"], ["y"])],
        weights(v=(8, 8)),
        None,
        "for each channel",
    ),
    "concat rows": ([node("Concat", ["x", "x"], ["y"], axis=2)], (), None, "channel axis"),
    "concat batch": ([node("Concat", ["x", "x"], ["y"], axis=0)], (), None, "over the batch"),
    "transpose": ([node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])], (), None, "moves data"),
    "batch transpose": ([node("Transpose", ["x"], ["y"])], (), None, "batch axis"),
    "reshape": (
        [node("Reshape", ["x", "r"], ["y"])],
        [constant("r", [1, 8, 3, 8], np.int64)],
        None,
        "moves data",
    ),
    "batch reshape": (
        [node("Reshape", ["x", "flat"], ["y"])],
        [FLAT],
        (2, 3, 8, 8),
        "as batch|infer",
    ),
    "mean over channels": (
        [node("ReduceMean", ["x", "a"], ["y"])],
        [constant("a", [1], np.int64)],
        None,
        "rows and columns",
    ),
    "softmax within": (
        [node("Softmax", ["x"], ["s"], axis=1), node("Relu", ["s"], ["y"], "after")],
        (),
        None,
        "'after'.*cut the model",
    ),
    "training": (
        [node("BatchNormalization", ["x", *"abcd"], ["y"], training_mode=1)],
        weights(a=(3,), b=(3,), c=(3,), d=(3,)),
        None,
        "evaluation mode",
    ),
    "second output": (
        [node("MaxPool", ["x"], ["m", "y"], "pool", kernel_shape=[2, 2])],
        (),
        None,
        "output 'y' is not supported",
    ),
    "ceil with counted padding": (
        [
            node(
                "AveragePool",
                ["x"],
                ["y"],
                kernel_shape=[3, 3],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
                ceil_mode=1,
                count_include_pad=1,
            )
        ],
        (),
        None,
        "count_include_pad",
    ),
    "missing attribute": ([node("MaxPool", ["x"], ["y"])], (), None, "malformed|kernel_shape"),
    "matrix bias": (
        [node("Gemm", ["x", "v", "b"], ["y"])],
        weights(v=(8, 4), b=(4, 4)),
        (4, 8),
        "bias of shape",
    ),
    "transA": (
        [node("Gemm", ["x", "v"], ["y"], transA=1)],
        weights(v=(1, 4)),
        (1, 8),
        "first operand",
    ),
    "sum of three": ([node("Sum", ["x", "x", "x"], ["y"])], (), None, "add by twos"),
    "training dropout": (
        [node("Dropout", ["x", "ratio", "training"], ["y"])],
        [constant("ratio", 0.5, np.float32), constant("training", True, bool)],
        None,
        "evaluation mode",
    ),
    "cast to integers": ([node("Cast", ["x"], ["y"], to=3)], (), None, "cast to INT8"),
    "scales at run time": (
        [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("Relu", ["q"], ["y"])],
        (),
        None,
        "quantise statically",
    ),
    "product over columns": (
        [node("MatMul", ["x", "v"], ["y"])],
        weights(v=(8, 4)),
        None,
        "over the columns of an image",
    ),
    "clip of quantised integers": (
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("Clip", ["q", "z"], ["y"])],
        [constant("s", 0.1, np.float32), constant("z", 3, np.int8)],
        None,
        "clips integers",
    ),
    "only data movement": ([node("Identity", ["x"], ["y"])], (), None, "no operator"),
    "recurrent": (
        [node("LSTM", ["x", "u", "v"], ["y"], hidden_size=2)],
        weights(u=(1, 8, 8), v=(1, 8, 2)),
        (1, 3, 8),
        "LSTM",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_from_onnx__refuses_clearly(name, tmp_path):
    nodes, initialisers, shape, message = REFUSED[name]
    path = save(tmp_path, model(nodes, initialisers, shape or (1, 3, 8, 8)))
    with pytest.raises(ModelError, match=message) as caught:
        from_onnx(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_from_onnx__truncated_files_are_refused(share, tmp_path):
    whole = model([node("Conv", ["x", "w"], ["y"])], W).SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match=r"export it again|file is damaged"):
        from_onnx(path)


@pytest.mark.parametrize("content", [b"hello", b"\x00" * 100, b"PK\x03\x04" + bytes(range(200))])
def test_from_onnx__other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not an ONNX file|no ONNX graph"):
        from_onnx(path)


def test_from_onnx__absent_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match="no such file"):
            from_onnx(path)


def external(location, length=432):
    made = model([node("Conv", ["x", "w"], ["y"])], W)
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return made


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin"]
)
def test_from_onnx__external_data_outside_the_folder_is_refused(location, tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(432))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="outside its folder"):
        from_onnx(save(folder, external(location)))


def test_from_onnx__missing_and_short_external_data_is_refused(tmp_path):
    path = save(tmp_path, external("data.bin"))
    with pytest.raises(ModelError, match=r"'data.bin' is missing; copy it"):
        from_onnx(path)
    (tmp_path / "data.bin").write_bytes(bytes(431))
    with pytest.raises(ModelError, match="truncated: 431 of 432 bytes"):
        from_onnx(path)
    (tmp_path / "data.bin").write_bytes(bytes(432))
    assert from_onnx(path).macs == 4 * 3 * 9 * 36


def test_from_onnx__weights_shorter_than_their_shape_are_refused(tmp_path):
    nodes = [node("Reshape", ["x", "flat"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    short = constant("flat", [1, 192], np.int64)
    short.raw_data = short.raw_data[:-3]
    path = save(tmp_path, model(nodes, [short, *weights(w=(192, 2))]))
    with pytest.raises(ModelError, match=r"damaged|inference fails"):
        from_onnx(path)


def test_from_onnx__wrong_stored_shapes_are_noticed(tmp_path):
    """Values of a known shape that the file contradicts elsewhere."""
    made = model([node("Gemm", ["x", "w"], ["y"])], weights(w=(9, 4)), (1, 8))
    with pytest.raises(ModelError, match=r"does not fit|inference"):
        from_onnx(save(tmp_path, made))


def test_from_onnx__refusing_leaves_the_file_alone(tmp_path):
    path = save(tmp_path, model([node("Sigmoid", ["x"], ["y"])]))
    before = path.read_bytes()
    with pytest.raises(ModelError):
        from_onnx(path)
    assert path.read_bytes() == before
    assert onnx.load(path).graph.node[0].op_type == "Sigmoid"


@pytest.fixture(scope="module")
def sound():
    """A file with one of everything that parsing touches."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "s", "s", "s", "s"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["c", "t"], ["d"]),
        node("Gemm", ["d", "v", "k"], ["e"], transB=1),
        node("Clip", ["e", "lo"], ["y"]),
    ]
    numbers = weights(w=(2, 3, 3, 3), s=(2,), v=(3, 32), k=(3,), lo=())
    made = model(nodes, [*numbers, constant("t", [0, -1], np.int64)])
    return made.SerializeToString()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_from_onnx__damaged_bytes_never_raise_anything_but_model_errors(
    data, sound, tmp_path_factory
):
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + 1] = data.draw(st.binary(max_size=1))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(damaged)
    with contextlib.suppress(ModelError):  # much damage does no harm
        check_graph(from_onnx(path))


def test_from_onnx__the_sound_file_is_imported(sound, tmp_path):
    path = tmp_path / "sound.onnx"
    path.write_bytes(sound)
    assert [op.kind for op in from_onnx(path).operators] == ["conv", "maxpool", "gemm", "clip"]


def test_from_onnx__constants_outside_the_file_are_refused(tmp_path):
    tensor = external("data.bin").graph.initializer[0]
    made = model([node("Constant", [], ["w"], "k", value=tensor), node("Conv", ["x", "w"], ["y"])])
    with pytest.raises(ModelError, match=r"node 'k'.*constants outside the file"):
        from_onnx(save(tmp_path, made))
