import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from ffcore.interfaces import BatchRNG, Context
from ffcore_std.augmentations import Cutout, Flip, ResizedCrop, Shift
from ffcore_std.augmentations_any import Mask, Noise

ALL = [Shift(2), Shift(2, "reflect"), Flip(), ResizedCrop(), Cutout(3, 0.7)]
NAMES = ["shift", "shift, reflected", "flip", "resized-crop", "cutout"]


def images(n=200, channels=2, height=5, width=6):
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1


def whole(n, step=0):
    return BatchRNG(1, step, 0, n, n)


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_each_image_moves_by_its_own_whole_pixels(border):
    x = images()
    moved = Shift(1, border)(x, whole(200))
    padded = F.pad(x, (1, 1, 1, 1), "reflect" if border == "reflect" else "constant")
    shifts = {(i, j): padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
    found = [next(s for s, all_ in shifts.items() if torch.equal(all_[n], moved[n])) for n in range(200)]
    assert set(found) == set(shifts)


def test_a_shift_of_zero_pixels_is_the_identity():
    x = images(3)
    assert torch.equal(Shift(pixels=0)(x, whole(3)), x)


def test_a_reflection_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="shift reflects at most 4 pixels of images of 6x5, not 5"):
        Shift(5, "reflect").setup(Context((3, 5, 6), 2))


def test_half_of_the_images_are_mirrored():
    x = images()
    made = Flip()(x, whole(200))
    mirrored = torch.tensor([torch.equal(made[n], x[n].flip(-1)) for n in range(200)])
    kept = torch.tensor([torch.equal(made[n], x[n]) for n in range(200)])
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130
    assert torch.equal(Flip(1.0)(x, whole(200)), x.flip(-1))
    assert torch.equal(Flip(0.0)(x, whole(200)), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_box_is_resized_as_if_cut_out_first(dtype):
    x = images(60, 3, 9, 12).to(dtype)
    made = ResizedCrop((0.05, 1.0), (0.5, 2.0))(x, whole(60))
    boxes = ResizedCrop((0.05, 1.0), (0.5, 2.0)).boxes(9, 12, whole(60))
    assert made.dtype == dtype
    for n, (top, left, rows, columns) in enumerate(torch.cat(boxes, 1).int().tolist()):
        box = x[n : n + 1, :, top : top + rows, left : left + columns]
        assert box.shape[2:] == (rows, columns)
        assert_close(made[n : n + 1], F.interpolate(box, (9, 12), mode="bilinear"), atol=2e-6, rtol=0)


def test_boxes_have_the_area_and_the_shape_that_were_asked_for():
    n, side = 4000, 1000  # so large that rounding does not matter
    top, left, rows, columns = ResizedCrop((0.1, 0.5), (0.5, 2.0)).boxes(side, side, whole(n))
    area, shape = rows * columns / side**2, columns / rows
    assert 0.099 < area.min() < 0.11
    assert 0.49 < area.max() < 0.501
    assert_close(area.mean(), torch.tensor(0.3), atol=0.01, rtol=0)
    assert 0.49 < shape.min() < 0.51
    assert 1.96 < shape.max() < 2.01
    assert_close(shape.log().mean(), torch.tensor(0.0), atol=0.02, rtol=0)
    for first, count in ((top, rows), (left, columns)):
        assert (first >= 0).all()
        assert (first + count <= side).all()
        assert_close((first / (side - count)).mean(), torch.tensor(0.5), atol=0.02, rtol=0)


def test_a_side_that_does_not_fit_is_cut_to_the_image():
    _, left, rows, columns = ResizedCrop((0.9, 0.9), (4.0, 4.0)).boxes(10, 20, whole(50))
    assert (columns == 20).all()
    assert (left == 0).all()
    assert (rows == round(math.sqrt(0.9 * 200 / 4))).all()


def test_the_whole_image_stays_as_it_is():
    x = images()
    assert_close(ResizedCrop((1.0, 1.0), (1.2, 1.2))(x, whole(200)), x, atol=2e-6, rtol=0)


@pytest.mark.parametrize("options", [{"scale": (0.0, 1.0)}, {"scale": (0.5, 0.2)}, {"ratio": (0.0, 1.0)}])
def test_boxes_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match=rf"{next(iter(options))}=.*in order"):
        ResizedCrop(**options)


@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_the_square_may_be_centred_on_any_pixel(side):
    x = images(600)
    made = Cutout(side)(x, whole(600))
    squares = {}
    for i in range(5):
        for j in range(6):
            square = torch.ones(5, 6)
            first, second = (max(0, k - side // 2) for k in (i, j))
            square[first : i - side // 2 + side, second : j - side // 2 + side] = 0
            squares[i, j] = square
    found = set()
    for n in range(600):
        fits = {place for place, square in squares.items() if torch.equal(made[n], x[n] * square)}
        assert fits
        found |= fits
    assert found == set(squares)


def test_some_images_get_no_square():
    x = images()
    untouched = (Cutout(3, 0.25)(x, whole(200)) == x).flatten(1).all(1).sum()
    assert 120 < untouched < 180
    assert torch.equal(Cutout(3, 0.0)(x, whole(200)), x)


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_values_stay_between_black_and_white(augmentation):
    x = torch.rand(300, 3, 8, 8).round()
    made = augmentation(x, whole(300))
    assert made.min() >= 0
    assert made.max() <= 1


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_two_ranks_draw_what_one_would_and_again_the_same(augmentation):
    x = images(7)
    made = augmentation(x, whole(7))
    shares = [augmentation(x[:3], BatchRNG(1, 0, 0, 3, 7)), augmentation(x[3:], BatchRNG(1, 0, 3, 4, 7))]
    assert torch.equal(made, torch.cat(shares))
    assert torch.equal(made, augmentation(x, whole(7)))
    assert not torch.equal(made, augmentation(x, whole(7, step=1)))


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_vectors_are_refused(augmentation):
    with pytest.raises(ValueError, match=r"expected images \(C, H, W\); the samples have the shape \(12,\)"):
        augmentation.setup(Context((12,), 2))


def test_a_share_without_rows_is_no_trouble():
    for augmentation in ALL:
        assert augmentation(images(0), BatchRNG(1, 0, 3, 0, 3)).shape == (0, 2, 5, 6)


def test_noise_has_its_scale():
    x = torch.ones(200, 50)
    noise = Noise(scale=0.5)(x, BatchRNG(1, 0, 0, 200, 200)) - x
    assert abs(float(noise.std()) - 0.5) < 0.01


@pytest.mark.parametrize(("shape", "dim"), [((50,), 0), ((50, 3), 0), ((3, 50), -1)])
def test_masked_positions_are_replaced_whole(shape, dim):
    x = torch.ones(200, *shape).long()
    made = Mask(share=0.3, value=9, dim=dim)(x, BatchRNG(1, 0, 0, 200, 200))
    hidden = made == 9
    assert made.dtype == torch.int64
    assert abs(float(hidden.float().mean()) - 0.3) < 0.02
    of_position = hidden.float().mean([1] if shape == (3, 50) else [2]) if len(shape) == 2 else hidden.float()
    assert set(of_position.unique().tolist()) == {0.0, 1.0}
