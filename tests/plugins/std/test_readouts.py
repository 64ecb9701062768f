import pytest
import torch

from ffcore.interfaces import Context
from ffcore_std.readouts import Softmax

BLOCKS = [
    Context((4,), 5, name=name, blocks=3, handoff_shape=shape)
    for name, shape in [("a", (4,)), ("b", (2, 3)), ("c", (3,))]
]


def reading(*blocks):
    return Context((5,), 5, features=blocks)


@pytest.mark.parametrize(
    ("taps", "names", "width"), [(None, ("b", "c"), 9), (("a",), ("a",), 4), (("c", "a"), ("c", "a"), 7)]
)
def test_reads_all_but_the_first_or_the_named_blocks(taps, names, width):
    readout = Softmax(taps)
    assert readout.setup(reading(*BLOCKS)) == names
    assert readout.linear.weight.shape == (5, width)


def test_starts_from_an_even_distribution():
    readout = Softmax()
    readout.setup(reading(*BLOCKS))
    logits = readout(torch.randn(6, 2, 3), torch.randn(6, 3))
    torch.testing.assert_close(logits.softmax(1), torch.full((6, 5), 0.2))


def test_a_readout_may_have_no_bias():
    readout = Softmax(bias=False)
    readout.setup(reading(*BLOCKS))
    assert [name for name, _ in readout.named_parameters()] == ["linear.weight"]
    assert readout(torch.ones(2, 2, 3), torch.ones(2, 3)).tolist() == [[0] * 5] * 2


def test_dropout_hides_a_share_of_the_inputs_in_learning_only():
    readout = Softmax(dropout=0.5)
    readout.setup(reading(BLOCKS[0]))
    torch.nn.init.ones_(readout.linear.weight)
    logits = readout(torch.ones(1000, 4))
    assert logits.mean().item() == pytest.approx(4, abs=0.2)
    assert set(logits.unique().tolist()) == {0, 2, 4, 6, 8}
    assert readout.eval()(torch.ones(3, 4)).unique().tolist() == [4]


def test_an_only_block_is_read():
    assert Softmax().setup(reading(BLOCKS[0])) == ("a",)


def test_a_block_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="there is no block 'd'"):
        Softmax(("d",)).setup(reading(*BLOCKS))


@pytest.mark.parametrize("taps", [(), ("a", "b", "a")])
def test_blocks_are_named_once_each(taps):
    with pytest.raises(ValueError, match=r"taps: .* should be different blocks, at least one"):
        Softmax(taps).setup(reading(*BLOCKS))
