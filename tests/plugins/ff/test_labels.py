import pytest
import torch

from ffcore.interfaces import Context
from ffcore_ff.labels import Channels, Fourier, Overlay, Token

K = 3
X = torch.arange(1.0, 13.0).view(2, 1, 2, 3)  # two images of six pixels


def overlay(**options):
    label = Overlay(**options)
    assert label.setup(Context((1, 2, 3), K)) == (1, 2, 3)
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
        Overlay().setup(Context((1, 2, 3), 7))


def test_views_that_share_samples_share_the_base():
    label = overlay()
    joined = label.join(X, label.code(torch.tensor([0, 1, 1, 2]), 4))
    assert joined.base.shape == X.shape
    alone = [label.join(X, label.code(torch.tensor(y), 2)).dense() for y in ([0, 1], [1, 2])]
    torch.testing.assert_close(joined.dense(), torch.cat(alone))


def test_channels_light_the_plane_of_the_class():
    made = Channels(strength=2.0, normalise="none")
    assert made.setup(Context((1, 2, 2), 3)) == (4, 2, 2)
    x = torch.rand(2, 1, 2, 2)
    rows = made.join(x, made.code(torch.tensor([0, 2, 1, 1]), 4))
    assert torch.equal(rows[:, :1], x.repeat(2, 1, 1, 1))
    assert torch.equal(rows[:, 1:, 0, 0], torch.tensor([[2.0, 0, 0], [0, 0, 2], [0, 2, 0], [0, 2, 0]]))
    assert torch.equal(rows[:, 1:], rows[:, 1:, :1, :1].expand(-1, -1, 2, 2))


def test_waves_of_two_classes_are_orthogonal_and_of_one_length():
    made = Fourier(normalise="none")
    made.setup(Context((1, 8, 8), 10))
    blank = torch.zeros(10, 1, 8, 8)
    waves = made.join(blank, made.code(torch.arange(10), 10)).flatten(1)
    torch.testing.assert_close(waves @ waves.T, 32 * torch.eye(10), atol=1e-4, rtol=0)


def test_a_wave_is_laid_over_every_channel():
    made = Fourier(strength=0.5, normalise="none")
    made.setup(Context((3, 8, 8), 2))
    x = torch.rand(2, 3, 8, 8)
    added = made.join(x, made.code(torch.tensor([1, 1]), 2)) - x
    assert added.abs().max() <= 0.5 + 1e-6
    torch.testing.assert_close(added[:, :1].expand_as(added), added)


def test_too_many_classes_for_the_waves_are_refused():
    with pytest.raises(ValueError, match="pixels have only"):
        Fourier().setup(Context((1, 3, 3), 30))


def test_channels_of_signals_and_of_sequences():
    signals, sequences = Channels(normalise="none"), Channels(normalise="none", dim=-1)
    assert signals.setup(Context((2, 5), 3)) == (5, 5)
    assert sequences.setup(Context((5, 2), 3)) == (5, 5)
    x, code = torch.rand(2, 2, 5), signals.code(torch.tensor([0, 2]), 2)
    rows = signals.join(x, code)
    assert torch.equal(rows[:, 2:, 4], torch.tensor([[1.0, 0, 0], [0, 0, 1]]))
    assert torch.equal(sequences.join(x.transpose(1, 2), code), rows.transpose(1, 2))
    with pytest.raises(ValueError, match="have no positions"):
        Channels().setup(Context((5,), 3))


def test_a_label_is_a_token_after_the_vocabulary():
    label = Token(tokens=10)
    assert label.setup(Context((3,), K)) == (4,)
    x = torch.tensor([[4, 5, 6], [7, 8, 9]])
    rows = label.join(x, label.code(torch.tensor([0, 2, 1, 1]), 4))
    assert rows.tolist() == [[10, 4, 5, 6], [12, 7, 8, 9], [11, 4, 5, 6], [11, 7, 8, 9]]
    assert label.join(x, label.code(None, 2))[:, 0].tolist() == [13, 13]
    with pytest.raises(ValueError, match="tokens are integers"):
        label.join(x.float(), label.code(None, 2))


def test_label_tokens_that_samples_have_are_refused():
    label = Token(tokens=5)
    label.setup(Context((3,), K))
    with pytest.raises(
        ValueError, match="tokens run to 9, but tokens is 5: the labels begin there; set it to 10"
    ):
        label.join(torch.tensor([[4, 9, 0]]), label.code(None, 1))
