import pytest
import torch

from ffcore.interfaces import Batch, BatchRNG, Context
from ffcore_ff.negatives import Hard, WrongLabel

MANY = 20_000


def drawn(negative, y, probs=None):
    negative.setup(Context((1,), 5 if probs is None else probs.shape[1]))
    x = torch.zeros(len(y), 1)
    same, wrong = negative(x, y, lambda: probs.expand(len(y), -1), BatchRNG(1, 0, 0, len(y), len(y)))
    assert same is x
    return wrong


def shares(wrong, classes):
    return torch.bincount(wrong, minlength=classes) / len(wrong)


def test_wrong_labels_are_even():
    found = shares(drawn(WrongLabel(), torch.full((MANY,), 2)), 5)
    torch.testing.assert_close(found, torch.tensor([0.25, 0.25, 0.0, 0.25, 0.25]), rtol=0, atol=0.012)


def test_hard_labels_follow_the_readout_with_the_true_class_masked():
    probs = torch.tensor([[0.5, 0.1, 0.15, 0.25]])
    for y, right in ((0, [0.0, 0.2, 0.3, 0.5]), (2, [0.5882, 0.1176, 0.0, 0.2941])):
        found = shares(drawn(Hard(), torch.full((MANY,), y), probs), 4)
        torch.testing.assert_close(found, torch.tensor(right), rtol=0, atol=0.012)


def test_hard_labels_are_even_where_the_readout_is_certain():
    probs = torch.tensor([[1.0, 0.0, 0.0]])
    found = shares(drawn(Hard(), torch.zeros(MANY, dtype=torch.long), probs), 3)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, 0.5]), rtol=0, atol=0.012)


def test_samples_with_their_own_classes_as_hypotheses_are_refused():
    class Own(WrongLabel):
        def forward(self, x, y, probs, rng):
            return x, y.clone()

    batch = Batch(torch.zeros(4, 1), torch.arange(4) % 3, torch.arange(4), 0, 4)
    batch.seed(0, 0)
    with pytest.raises(ValueError, match="the hypotheses are the samples' own classes"):
        Own().of(batch, batch.y, lambda: None)


@pytest.mark.parametrize("negative", [WrongLabel, Hard])
def test_one_class_has_no_wrong_label(negative):
    with pytest.raises(ValueError, match="at least 2 classes"):
        negative().setup(Context((1,), 1))
