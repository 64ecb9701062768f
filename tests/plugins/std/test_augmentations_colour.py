import colorsys

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from ffcore.interfaces import BatchRNG, Context, Statistics
from ffcore_std.augmentations_colour import ColourJitter, Grey, turned

ALL = [ColourJitter(), ColourJitter(0.9, 0.9, 2.0, 0.5, 0.5), Grey(0.5)]
NAMES = ["jitter", "strong jitter", "grey"]


def images(n=40, channels=3):
    """Colours of all kinds, with black, white, grey and pure ones among them."""
    x = torch.rand(n, channels, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, :, 0] = x[:, :, 0].round()
    x[:, :, 1] = x[:, :1, 1]
    return x


def whole(n=40, step=0):
    return BatchRNG(1, step, 0, n, n)


def one_by_one(x, drawn, strength):
    """What is drawn of a sample, done to its pixels in turn."""
    made = x.clone()
    low = [max(0.0, 1 - s) for s in strength[:3]]
    for n in range(len(x)):
        _, *numbers = drawn[n].flatten().tolist()
        brightness, contrast, saturation = (
            lo + (1 + s - lo) * u for lo, s, u in zip(low, strength[:3], numbers[:3], strict=True)
        )
        turn = (2 * numbers[3] - 1) * strength[3]
        made[n] = (made[n] * brightness).clamp(0, 1)
        mean = (0.299 * made[n, 0] + 0.587 * made[n, 1] + 0.114 * made[n, 2]).mean()
        made[n] = (contrast * made[n] + (1 - contrast) * mean).clamp(0, 1)
        grey = 0.299 * made[n, 0] + 0.587 * made[n, 1] + 0.114 * made[n, 2]
        made[n] = (saturation * made[n] + (1 - saturation) * grey).clamp(0, 1)
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                h, s, v = colorsys.rgb_to_hsv(*made[n, :, i, j].tolist())
                made[n, :, i, j] = x.new_tensor(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
    return made


@pytest.mark.parametrize("strength", [(0.4, 0.3, 0.2, 0.1), (2.0, 0.0, 1.5, 0.5), (0.0, 1.2, 0.0, 0.0)])
def test_jitter_is_what_a_loop_over_pixels_makes(strength):
    x = images()
    drawn = whole().uniform("colour-jitter", 5).double()
    assert_close(ColourJitter(*strength)(x, whole()), one_by_one(x, drawn, strength), atol=1e-12, rtol=0)


def test_a_full_turn_of_the_hue_is_the_identity_and_a_third_permutes_channels():
    x = images()
    for turn in (0.0, 1.0, -1.0):
        assert_close(turned(x, torch.full((40, 1, 1), turn).double()), x)
    assert_close(turned(x, torch.full((40, 1, 1), 1 / 3).double()), x.roll(1, dims=1))


def test_a_strength_of_zero_is_the_identity():
    x = images()
    assert torch.equal(ColourJitter(0, 0, 0, 0)(x, whole()), x)
    assert torch.equal(ColourJitter(probability=0.0)(x, whole()), x)
    assert torch.equal(Grey(0.0)(x, whole()), x)


def test_some_images_are_left_alone():
    x = images(400)
    for augmentation in (ColourJitter(probability=0.25), Grey(0.25)):
        kept = (augmentation(x, whole(400)) == x).flatten(1).all(1).sum()
        assert 260 < kept < 340


def test_grey_is_pillows_to_its_rounding():
    shades = (images() * 255).round()
    made = Grey(1.0)(shades / 255, whole())
    assert torch.equal(made[:, 0], made[:, 1])
    assert torch.equal(made[:, 0], made[:, 2])
    for n in range(40):
        right = Image.fromarray(shades[n].permute(1, 2, 0).byte().numpy()).convert("L")
        left = torch.tensor(list(right.tobytes())).view(4, 5)
        assert (made[n, 0] * 255 - left).abs().max() < 0.51


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_stay_between_black_and_white(augmentation, dtype):
    x = torch.cat([images(500), torch.ones(100, 3, 4, 5), torch.zeros(100, 3, 4, 5)]).to(dtype)
    made = augmentation(x, whole(700))
    assert made.dtype == dtype
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


def test_one_channel_has_brightness_and_contrast_only():
    x = images(channels=1)
    assert torch.equal(Grey(1.0)(x, whole()), x)
    assert torch.equal(ColourJitter(0, 0, 0.5, 0.5)(x, whole()), x)
    made = ColourJitter(0.0, 0.5, 0.5, 0.5)(x, whole())
    middle = x.mean((1, 2, 3), keepdim=True)
    assert not torch.equal(made, x)
    inside = (made > 0) & (made < 1) & (x != middle)
    factor = torch.where(inside, (made - middle) / (x - middle), torch.nan)
    for of_image in factor.flatten(1):
        known = of_image[~of_image.isnan()]
        assert_close(known, known[:1].expand_as(known))


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("shape", "message"),
    [((4, 3, 3), "1 or 3 channels for colours, found 4"), ((9,), r"shape \(9,\)")],
    ids=["four channels", "vectors"],
)
def test_samples_without_colours_are_refused(augmentation, shape, message):
    with pytest.raises(ValueError, match=message):
        augmentation.setup(Context(shape, 2))


@pytest.mark.parametrize(
    "make", [lambda: ColourJitter(0.9, 0.9, 0.9, 0.5), lambda: Grey(0.5)], ids=["jitter", "grey"]
)
def test_standardised_colours_change_as_if_they_were_not(make):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    plain, standardised = make(), make()
    standardised.setup(Context((3, 4, 4), 2, statistics=Statistics((1, 1), 0.0, 1.0, mean, std)))
    x = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    m, s = (torch.tensor(of).view(3, 1, 1) for of in (mean, std))
    made = standardised((x - m) / s, whole(6))
    assert_close(made * s + m, plain(x, whole(6)), rtol=1e-5, atol=1e-5)
