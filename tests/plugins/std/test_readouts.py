import pytest
import torch

from ffcore.interfaces import BlockInfo
from ffcore_std.readouts import Softmax

BLOCKS = [BlockInfo(name, i, 3, (4,), 5) for i, name in enumerate("abc")]
SHAPES = [(4,), (2, 3), (3,)]


@pytest.mark.parametrize(
    ("taps", "names", "width"), [(None, ("b", "c"), 9), (("a",), ("a",), 4), (("c", "a"), ("c", "a"), 7)]
)
def test_reads_all_but_the_first_or_the_named_blocks(taps, names, width):
    readout = Softmax(taps)
    assert readout.connect(BLOCKS, SHAPES) == names
    assert readout.linear.weight.shape == (5, width)


def test_starts_from_an_even_distribution():
    readout = Softmax()
    readout.connect(BLOCKS, SHAPES)
    logits = readout(torch.randn(6, 2, 3), torch.randn(6, 3))
    torch.testing.assert_close(logits.softmax(1), torch.full((6, 5), 0.2))


def test_an_only_block_is_read():
    assert Softmax().connect(BLOCKS[:1], SHAPES[:1]) == ("a",)


def test_a_block_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="there is no block 'd'"):
        Softmax(("d",)).connect(BLOCKS, SHAPES)


@pytest.mark.parametrize("taps", [(), ("a", "b", "a")])
def test_blocks_are_named_once_each(taps):
    with pytest.raises(ValueError, match=r"taps: .* should be different blocks, at least one"):
        Softmax(taps).connect(BLOCKS, SHAPES)
