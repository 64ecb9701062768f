import pytest
import torch

from ffcore.interfaces import BatchRNG, Context
from ffcore_ff.images import Hybrid, OtherData, Shuffled, Turned, blur

X = torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def negatives(made, x=X, shape=(2, 8, 8), seed=1):
    made.setup(Context(shape, 10))
    wrong, y = made(
        x, None, lambda: pytest.fail("probabilities were used"), BatchRNG(seed, 0, 0, len(x), len(x))
    )
    assert y is None
    return wrong


def test_one_blur_by_hand():
    dot = torch.zeros(5, 5)
    dot[2, 2] = 16
    middle = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert torch.equal((blur(5, 1) @ dot @ blur(5, 1).T)[1:4, 1:4], middle)
    assert torch.equal(blur(3, 4).sum(1), torch.ones(3))  # edges are repeated


def test_six_blurs_at_once_are_six_blurs_to_the_bit():
    bits = (torch.rand(20, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    step_by_step, once = bits, blur(28, 1)
    for _ in range(6):
        step_by_step = once @ step_by_step @ once.T
    assert torch.equal(blur(28, 6) @ bits @ blur(28, 6).T, step_by_step)


def test_each_pixel_of_a_hybrid_is_from_one_of_two_different_samples():
    wrong = negatives(Hybrid(blurs=2))
    assert wrong.shape == X.shape
    for n, hybrid in enumerate(wrong):
        pixels = (hybrid == X).all(1).flatten(1).float().mean(1)  # share of pixels from each sample
        assert 0 < pixels[n] < 1
        assert (pixels > 0).sum() == 2
        assert pixels.sum() == 1


def test_the_hybrid_of_a_sample_left_over_is_mixed_with_the_sample_turned():
    made = Hybrid(blurs=2)
    made.setup(Context((2, 8, 8), 10))
    x = X[:1]
    wrong, _ = made(x, None, None, BatchRNG(1, 5, 0, 1, 1))
    own, turned = wrong == x, wrong == x.rot90(2, (2, 3))
    assert (own | turned).all()
    assert own.any()
    assert not own.all()


def test_more_blurs_make_larger_blobs():
    x = torch.zeros(50, 1, 28, 28)

    def borders(blurs):
        made = Hybrid(blurs)
        made.setup(Context((1, 28, 28), 10))
        mask = made.mask(x, BatchRNG(3, 0, 0, 50, 50)).float()
        return mask.diff(dim=2).abs().mean().item()

    assert borders(0) > 2 * borders(2) > 2.5 * borders(8) > 0


def test_shuffled_patches_are_the_same_patches():
    wrong = negatives(Shuffled(patch=4))
    for n in range(len(X)):
        tiles = [
            {
                t.tobytes()
                for t in map(
                    torch.Tensor.numpy,
                    i.unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 0, 3, 4).reshape(4, -1),
                )
            }
            for i in (wrong[n], X[n])
        ]
        assert tiles[0] == tiles[1]
    assert not torch.equal(wrong, X)


def test_turned_images_are_turned_once_to_three_times():
    x = X.repeat(20, 1, 1, 1)
    wrong = negatives(Turned(), x)
    turns = {
        next(k for k in range(4) if torch.equal(w, i.rot90(k, (1, 2)))) for w, i in zip(wrong, x, strict=True)
    }
    assert turns == {1, 2, 3}


def test_other_data_samples_the_other_set():
    from ffcore.data.arrays import InMemory

    other = InMemory(
        torch.full((4, 2, 8, 8), 51, dtype=torch.uint8), [0, 1, 0, 1], X[:2].mul(255).byte(), [0, 1]
    )
    torch.testing.assert_close(negatives(OtherData(other)), torch.full_like(X, 0.2))


@pytest.mark.parametrize(
    ("made", "shape", "message"),
    [
        (Hybrid(), (64,), "C×H×W"),
        (Shuffled(3), (1, 8, 8), "do not tile"),
        (Shuffled(8), (1, 8, 8), "do not tile"),
        (Turned(), (1, 8, 4), "not square"),
    ],
)
def test_samples_of_a_wrong_shape_are_refused(made, shape, message):
    with pytest.raises(ValueError, match=message):
        made.setup(Context(shape, 10))
