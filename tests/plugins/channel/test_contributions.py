import math

import pytest
import torch

from ffcore.interfaces import Context, Source
from ffcore.tasks import MultiLabel, TokenClassification
from ffcore_channel.contributions import BestRange, LossWeighted

BLOCKS = [Source("a", "block"), Source("b", "block"), Source("c", "block")]
READOUT = Source("soft", "readout")
NAN = math.nan


def attending(contribution, sources=(*BLOCKS, READOUT), task=None):
    contribution.setup(Context((1,), 2, sources=tuple(sources), task=task))
    return contribution


def one_hot(*predictions):
    """Evidence (N, 2) that predicts these classes, surely."""
    return torch.eye(2)[list(predictions)]


@pytest.mark.parametrize("split", ["val", "train"])
def test_weights_are_a_softmax_of_negative_losses(split):
    made = attending(LossWeighted(split))
    assert made.needs == {f"{split}.loss"}
    made.observe(split, torch.tensor([0.5, 1.0, 2.0, 0.1]), None, None)
    parts = [math.exp(-loss) for loss in (0.5, 1.0, 2.0)]
    assert made.weights.tolist() == pytest.approx([part / sum(parts) for part in parts] + [0])
    scores = torch.randn(4, 5, 3)
    right = sum(w * of for w, of in zip(made.weights.tolist(), scores, strict=True))
    torch.testing.assert_close(made.combine(scores), right)


def test_before_the_first_observation_all_blocks_weigh_the_same():
    assert attending(LossWeighted()).weights.tolist() == pytest.approx([1 / 3] * 3 + [0])
    assert attending(BestRange()).weights.tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("lost", [NAN, math.inf])
def test_a_block_without_a_finite_loss_has_weight_zero(lost):
    made = attending(LossWeighted())
    made.observe("val", torch.tensor([1.0, lost, 1.0, NAN]), None, None)
    assert made.weights.tolist() == pytest.approx([0.5, 0, 0.5, 0])
    scores = torch.ones(4, 2, 3)
    scores[1] = NAN  # what a diverged block says
    torch.testing.assert_close(made.combine(scores), torch.ones(2, 3))


def test_without_any_loss_the_weights_stay():
    made = attending(LossWeighted())
    made.observe("val", torch.tensor([1.0, 2.0, 3.0, NAN]), None, None)
    before = made.weights.tolist()
    made.observe("val", torch.full((4,), NAN), None, None)
    made.observe("train", torch.tensor([3.0, 2.0, 1.0, NAN]), None, None)
    assert made.weights.tolist() == before


def test_the_best_range_is_right_most_often():
    y = torch.tensor([0, 1, 0, 1])
    # a is never right; b three times; c twice, and louder than b; the readout always, but is no block
    evidence = [3 * one_hot(1, 0, 1, 0), one_hot(0, 1, 0, 0), 2 * one_hot(1, 1, 1, 1), one_hot(0, 1, 0, 1)]
    made = attending(BestRange())
    made.observe("val", None, torch.stack(evidence), y)
    assert made.range.tolist() == [1, 1]
    assert made.weights.tolist() == [0, 1, 0, 0]


def test_the_best_range_is_found_among_all_ranges():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 50, 3, generator=generator)
    y = torch.randint(3, (50,), generator=generator)
    made = attending(BestRange())
    made.observe("val", None, scores, y)
    ranges = [(s, e) for s in range(3) for e in range(s, 3)]
    hits = {(s, e): int((scores[s : e + 1].sum(0).argmax(1) == y).sum()) for s, e in ranges}
    best = [pair for pair in ranges if hits[pair] == max(hits.values())]
    assert tuple(made.range.tolist()) == max(best, key=lambda pair: (pair[1] - pair[0], -pair[0]))
    start, end = made.range.tolist()
    torch.testing.assert_close(made.combine(scores), scores[start : end + 1].sum(0))


def test_of_equally_good_ranges_the_widest_counts_and_of_those_the_first():
    y = torch.tensor([0, 1])
    right, wrong = one_hot(0, 1), one_hot(1, 0)
    made = attending(BestRange())
    made.observe("val", None, torch.stack([right, right, right, wrong]), y)
    assert made.range.tolist() == [0, 2]
    made.observe("val", None, torch.stack([right, 5 * wrong, right, right]), y)
    assert made.range.tolist() == [0, 0]


def test_the_best_range_of_positions_and_of_labels():
    y = torch.tensor([[0, 1], [1, -100]])  # the first block is right everywhere, the others never
    right, wrong = one_hot(0, 1, 1, 0).view(2, 2, 2), 5 * one_hot(1, 0, 0, 1).view(2, 2, 2)
    made = attending(BestRange(), task=TokenClassification(2))
    made.observe("val", None, torch.stack([right, wrong, wrong, wrong]), y)
    assert made.weights.tolist() == [1, 0, 0, 0]
    assert torch.equal(made.combine(torch.stack([right, wrong, wrong, wrong])), right)
    labels = torch.tensor([[1, 1], [0, 1]])
    made = attending(BestRange(), task=MultiLabel(2))
    scores = 2.0 * labels - 1
    made.observe("val", None, torch.stack([-9 * scores, scores, scores, -9 * scores]), labels)
    assert made.weights.tolist() == [0, 1, 1, 0]


def test_readouts_between_blocks_do_not_disturb_the_range():
    y = torch.tensor([0, 1])
    made = attending(BestRange(), [BLOCKS[0], READOUT, BLOCKS[1]])
    made.observe("val", None, torch.stack([2 * one_hot(1, 0), one_hot(1, 0), one_hot(0, 1)]), y)
    assert made.weights.tolist() == [0, 0, 1]


@pytest.mark.parametrize("make", [LossWeighted, BestRange])
def test_weights_are_in_checkpoints(make):
    one, other = attending(make()), attending(make())
    one.observe("val", torch.tensor([1.0, 2.0, 3.0, NAN]), torch.randn(4, 9, 2), torch.arange(9) % 2)
    other.load_state_dict(one.state_dict())
    scores = torch.randn(4, 5, 2)
    torch.testing.assert_close(other.combine(scores), one.combine(scores), rtol=0, atol=0)


@pytest.mark.parametrize("make", [LossWeighted, BestRange])
def test_without_blocks_there_is_an_error(make):
    with pytest.raises(ValueError, match="no block gives evidence"):
        make().setup(Context((1,), 2, sources=(READOUT,)))
