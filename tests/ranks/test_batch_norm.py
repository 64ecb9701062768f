"""Batch norm over two ranks: the numbers and gradients of one process, from shares of each batch."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ffcore.local.batch_norm import restore, synchronise

IMAGES, ROWS = (3, 4, 5), (6,)
CASES = {
    "images": ("BatchNorm2d", IMAGES, [4, 4], {}, {}),
    "uneven": ("BatchNorm2d", IMAGES, [2, 5], {}, {}),
    "a rank without samples": ("BatchNorm2d", IMAGES, [0, 5], {}, {}),
    "one row on a rank": ("BatchNorm1d", ROWS, [1, 2], {}, {}),
    "without parameters": ("BatchNorm2d", IMAGES, [3, 4], {"affine": False}, {}),
    "cumulative averages": ("BatchNorm1d", ROWS, [3, 4], {"momentum": None}, {"calls": 3}),
    "without running statistics": ("BatchNorm1d", ROWS, [3, 4], {"track_running_stats": False}, {}),
    "evaluation mode": ("BatchNorm2d", IMAGES, [3, 4], {}, {"evaluates": True}),
    "evaluation mode without running statistics": (
        *("BatchNorm1d", ROWS, [3, 4], {"track_running_stats": False}),
        {"evaluates": True},
    ),
    "volumes": ("BatchNorm3d", (2, 3, 2, 2), [1, 2], {"eps": 0.1}, {}),
    "another forward": ("OwnForward", IMAGES, [2, 3], {}, {}),
}


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("kind", "shape", "sizes", "options", "more"), CASES.values(), ids=CASES)
def test_two_ranks_compute_what_one_process_does(pool, work, kind, shape, sizes, options, more, dtype, most):
    one = work.normed(kind, shape, sizes, options, **more, dtype=dtype)
    for result in pool("normed", kind, shape, sizes, options, **more, dtype=dtype):
        assert result.keys() == one.keys()
        for name, value in one.items():
            assert result[name].shape == value.shape
            difference = (result[name] - value).abs() / value.abs().clamp(min=1)
            assert float(difference.max()) <= most, name


@pytest.mark.thorough
def test_both_ranks_have_the_same_running_statistics_to_the_bit(pool):
    first, second = pool("normed", "BatchNorm2d", IMAGES, [0, 5], {}, dtype=torch.float32)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(first[name], second[name])


def test_each_rank_may_use_its_own_samples_as_in_torch(pool, work):
    one = work.normed("BatchNorm1d", ROWS, [3, 3], {})
    first, second = pool("normed", "BatchNorm1d", ROWS, [3, 3], {}, together=False)
    assert not torch.allclose(first["running_mean"], second["running_mean"])
    mean = (first["running_mean"] + second["running_mean"]) / 2
    torch.testing.assert_close(mean, one["running_mean"])
    assert not torch.allclose(first["y"], one["y"])


def test_a_global_batch_of_one_value_raises_on_all_ranks(pool):
    for message in pool("refused"):
        assert message.startswith("Expected more than 1 value per channel when training")


def test_copies_are_of_themselves_and_restore_leaves_nothing():
    model = nn.Sequential(nn.BatchNorm1d(2))
    keys = list(model.state_dict())
    synchronise(model)
    synchronise(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other(torch.rand(4, 2))
        assert other[0].num_batches_tracked == 1
        assert other[0].forward.norm is other[0]
        assert list(other.state_dict()) == keys
    assert model[0].num_batches_tracked == 0
    restore(model)
    assert "forward" not in vars(model[0])


@pytest.mark.thorough
def test_the_norms_of_a_localized_model_have_the_statistics_of_the_global_batch(pool, work):
    one = work.localized()
    for state in pool("localized", compiled=True):
        for name, value in one.items():
            if torch.is_tensor(value):
                torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-5)
