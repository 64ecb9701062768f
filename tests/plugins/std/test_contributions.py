import pytest
import torch

from ffcore.interfaces import Context, Source
from ffcore_std.contributions import FromReadout, Last, SkipFirst, Sum

BLOCKS = [Source("a", "block"), Source("b", "block"), Source("c", "block")]
READOUTS = [Source("soft", "readout"), Source("ridge", "readout")]
SCORES = torch.tensor([[[1.0, 10.0]], [[2.0, 20.0]], [[4.0, 40.0]], [[8.0, 80.0]], [[16.0, 160.0]]])


def among(*sources):
    return Context((1,), 2, sources=sources)


@pytest.mark.parametrize(
    ("contribution", "right"),
    [
        (Sum(), [[7.0, 70.0]]),
        (Sum(readouts=0.5), [[7.0 + 0.5 * 24, 70.0 + 0.5 * 240]]),
        (SkipFirst(), [[6.0, 60.0]]),
        (Last(), [[4.0, 40.0]]),
        (FromReadout("soft"), [[8.0, 80.0]]),
        (FromReadout("ridge"), [[16.0, 160.0]]),
    ],
)
def test_by_hand(contribution, right):
    contribution.setup(among(*BLOCKS, *READOUTS))
    assert contribution.combine(SCORES).tolist() == right


def test_readouts_that_count_must_exist():
    with pytest.raises(ValueError, match="readouts have a weight, but the network has none"):
        Sum(readouts=1.0).setup(among(*BLOCKS))


def test_skip_first_uses_the_only_block():
    contribution = SkipFirst()
    contribution.setup(among(BLOCKS[0], READOUTS[0]))
    assert contribution.combine(SCORES[:2]).tolist() == [[1.0, 10.0]]


def test_the_only_readout_needs_no_name():
    contribution = FromReadout()
    contribution.setup(among(*BLOCKS, READOUTS[0]))
    assert contribution.combine(SCORES[:4]).tolist() == [[8.0, 80.0]]


@pytest.mark.parametrize(
    ("name", "sources", "message"),
    [
        ("x", [*BLOCKS, *READOUTS], "no readout 'x'; the recipe's readouts: soft, ridge"),
        (None, [*BLOCKS, *READOUTS], "the recipe's readouts: soft, ridge"),
        (None, BLOCKS, "add one under `readouts`"),
    ],
)
def test_a_missing_readout_is_an_error(name, sources, message):
    with pytest.raises(ValueError, match=message):
        FromReadout(name).setup(among(*sources))


@pytest.mark.parametrize("contribution", [Sum, SkipFirst, Last])
def test_without_any_source_there_is_an_error(contribution):
    with pytest.raises(ValueError, match="no source gives evidence"):
        contribution().setup(among())


def test_where_only_readouts_know_classes_they_count():
    contribution = Sum()
    contribution.setup(among(*READOUTS))
    assert contribution.chosen == list(range(len(READOUTS)))
