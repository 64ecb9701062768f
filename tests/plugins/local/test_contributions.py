"""Sums of probabilities."""

import pytest
import torch

from ffcore.interfaces import Context, Source
from ffcore.tasks import MultiLabel, TokenClassification
from ffcore_local.contributions import SumOfSoftmax


def test_blocks_count_by_their_probabilities_and_readouts_not_at_all():
    made = SumOfSoftmax()
    sources = (Source("a", "block"), Source("r", "readout"), Source("b", "block"))
    made.setup(Context((4,), 2, sources=sources))
    scores = torch.tensor([[[0.0, 0.0]], [[9.0, 0.0]], [[torch.log(torch.tensor(3.0)), 0.0]]])
    torch.testing.assert_close(made.combine(scores), torch.tensor([[1.25, 0.75]]))


def test_probabilities_are_of_one_class_a_sample_or_position():
    made = SumOfSoftmax()
    sources = (Source("a", "block"),)
    made.setup(Context((4,), 2, sources=sources, task=TokenClassification(2)))
    torch.testing.assert_close(made.combine(torch.zeros(1, 3, 5, 2)), torch.full((3, 5, 2), 0.5))
    with pytest.raises(ValueError, match="is for one of K classes, not the task MultiLabel"):
        made.setup(Context((4,), 2, sources=sources, task=MultiLabel(2)))


def test_a_block_has_to_give_evidence():
    with pytest.raises(ValueError, match="no block gives evidence"):
        SumOfSoftmax().setup(Context((4,), 2))
