import pytest
import torch

from ffcore_ff.labels import Overlay

K = 3
X = torch.arange(1.0, 13.0).view(2, 1, 2, 3)  # two images of six pixels


def overlay(**options):
    label = Overlay(**options)
    assert label.prepare((1, 2, 3), K) == (1, 2, 3)
    return label


def test_the_class_is_written_over_the_first_pixels():
    label = overlay(strength=5.0, normalise="none")
    rows = label.join(X, label.code(torch.tensor([2, 0]), 2)).dense().flatten(1)
    assert rows.tolist() == [[0, 0, 5, 4, 5, 6], [5, 0, 0, 10, 11, 12]]


def test_neutral_spreads_the_strength_over_all_classes():
    label = overlay(strength=6.0)
    assert label.code(None, 2).tolist() == [[2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize(("normalise", "square"), [("rms", 6.0), ("l2", 1.0)])
def test_labelled_inputs_are_normalised(normalise, square):
    label = overlay(normalise=normalise)
    for code in (label.code(torch.tensor([1, 2]), 2), label.code(None, 2)):
        rows = label.join(X, code).dense().flatten(1)
        torch.testing.assert_close(rows.square().sum(1), torch.full((2,), square))


def test_too_many_classes_are_refused():
    with pytest.raises(ValueError, match="7 classes do not fit into 6 input features"):
        Overlay().prepare((1, 2, 3), 7)


def test_views_that_share_samples_share_the_base():
    label = overlay()
    joined = label.join(X, label.code(torch.tensor([0, 1, 1, 2]), 4))
    assert joined.base.shape == X.shape
    alone = [label.join(X, label.code(torch.tensor(y), 2)).dense() for y in ([0, 1], [1, 2])]
    torch.testing.assert_close(joined.dense(), torch.cat(alone))
