import torch

from ffcore.interfaces import Draw
from ffcore_std.augmentations import Shift


def test_each_image_moves_by_its_own_whole_pixels():
    x = torch.rand(200, 2, 5, 6) + 1
    moved = Shift(pixels=1)(x, Draw(1, 0, 0, 200, 200))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    shifts = {(i, j): padded[:, :, i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
    found = [next(s for s, all_ in shifts.items() if torch.equal(all_[n], moved[n])) for n in range(200)]
    assert set(found) == set(shifts)


def test_no_pixels_change_nothing():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(Shift(pixels=0)(x, Draw(1, 0, 0, 3, 3)), x)
