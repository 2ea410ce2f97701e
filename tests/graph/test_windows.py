"""Window arithmetic against PyTorch."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from fragenv.graph.refused import RefusedError
from fragenv.graph.windows import Window, adaptive_window, same_padding

sizes = st.integers(1, 17)


@given(size=sizes, kernel=st.integers(1, 5), stride=st.integers(1, 4), data=st.data())
def test_window__sizes_equal_those_of_max_pool2d(size, kernel, stride, data):
    padding = data.draw(st.integers(0, kernel // 2))
    dilation = data.draw(st.integers(1, 2))
    ceil = data.draw(st.booleans())
    image = torch.empty(1, 1, size, size + 3, device="meta")
    window = Window((kernel, kernel), (stride, stride), (padding,) * 4, (dilation, dilation))
    if ceil:
        window = window.ceil((size, size + 3))
    try:
        expected = F.max_pool2d(image, kernel, stride, padding, dilation, ceil_mode=ceil).shape[2:]
    except RuntimeError:
        with pytest.raises(RefusedError):
            window.output((size, size + 3))
        return
    assert window.output((size, size + 3)) == tuple(expected)


@given(size=sizes, output=sizes)
def test_adaptive_window__is_pytorchs_or_refused(size, output):
    assume(output <= size)
    image = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0))
    expected = F.adaptive_avg_pool2d(image, output)
    try:
        window = adaptive_window((size, size), (output, output))
    except RefusedError:
        assert size % output  # a divisor always has regular windows
        return
    found = F.avg_pool2d(image, window.kernel, window.stride)
    torch.testing.assert_close(found, expected)


@given(size=sizes, kernel=st.integers(1, 5), stride=st.integers(1, 4), upper=st.booleans())
def test_same_padding__covers_the_whole_input(size, kernel, stride, upper):
    window = same_padding((size, size), Window((kernel, kernel), (stride, stride)), upper)
    top, _, bottom, _ = window.padding
    assert window.output((size, size)) == (-(-size // stride), -(-size // stride))
    assert (bottom - top if upper else top - bottom) in (0, 1)


def test_window__refuses_a_kernel_larger_than_the_input():
    with pytest.raises(RefusedError, match="window of 5 does not fit"):
        Window((5, 5)).output((4, 4))
