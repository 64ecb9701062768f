"""Random numbers equal torch's."""

import numpy as np
import pytest
import torch

from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.edge import EdgeError
from ffcore.edge.random import Generator, batch_numbers, mix, order
from ffcore.interfaces import BatchRNG
from ffcore.interfaces.batch_rng import mix as mixed

SEEDS = [0, 1, 5489, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1]
SIZES = [1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 100, 1000, 4099]


def pair(seed):
    return Generator(seed), torch.Generator().manual_seed(seed)


def test_a_seed_is_mixed_of_the_same_words():
    for words in [(0,), (1, 2, 3), (2**64 - 1, 5), (7, 0, 2**32 - 1, 3)]:
        assert mix(*words) == mixed(*words)


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_numbers_are_those_of_torch(seed):
    for n in SIZES:
        own, g = pair(seed)
        for _ in range(2):
            assert np.array_equal(own.uniform(n), torch.rand(n, generator=g).numpy())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("high", [1, 2, 9, 1000, 2**16, 2**28 - 1, 2**28, 2**31 + 3, 2**40 + 1])
def test_integers_are_those_of_torch(seed, high):
    for n in SIZES:
        own, g = pair(seed)
        for _ in range(2):
            assert np.array_equal(own.integers(high, n), torch.randint(high, (n,), generator=g).numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_normal_numbers_are_those_of_torch_but_for_rounding(seed):
    for n in [*SIZES, 100_003]:
        own, g = pair(seed)
        made, right = own.normal(n), torch.randn(n, generator=g).numpy()
        assert made.dtype == np.float32
        assert np.all(np.abs(made - right) <= 1e-6 * (1 + np.abs(right))), n


def test_fewer_than_16_normal_numbers_are_equal_bit_for_bit():
    for n in range(1, 16):
        own, g = pair(11)
        assert np.array_equal(own.normal(n), torch.randn(n, generator=g).numpy())


@pytest.mark.parametrize("seed", SEEDS)
def test_permutations_are_those_of_torch(seed):
    for n in [*SIZES, 60_000]:
        own, g = pair(seed)
        assert np.array_equal(own.permutation(n), torch.randperm(n, generator=g).numpy())


def test_a_permutation_of_more_samples_than_torch_takes_32_bits_for_is_refused():
    with pytest.raises(EdgeError, match="at most 214748363"):
        Generator(0).permutation(2**32 // 20)


@pytest.mark.parametrize("seed", [0, 1, 2**62])
@pytest.mark.parametrize("shape", [(), (3,), (2, 5)])
def test_the_numbers_of_a_batch_are_those_of_the_batch_rng(seed, shape):
    rng = BatchRNG(seed, 12, 0, 6, 6)
    for call in range(3):
        made = [
            batch_numbers(seed, 12, "labels", call, "integers", (6, *shape), 9),
            batch_numbers(seed, 12, "noise", call, "uniform", (6, *shape)),
            batch_numbers(seed, 12, "weights", call, "normal", (6, *shape)),
        ]
        right = [
            rng.integers("labels", 9, *shape),
            rng.uniform("noise", *shape),
            rng.normal("weights", *shape),
        ]
        assert np.array_equal(made[0], right[0].numpy())
        assert np.array_equal(made[1], right[1].numpy())
        assert np.allclose(made[2], right[2].numpy(), rtol=1e-6, atol=1e-6)
        assert [a.dtype for a in made] == [np.int64, np.float32, np.float32]


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("epoch", [0, 1, 19])
def test_the_order_of_an_epoch_is_that_of_the_loader(seed, epoch):
    split = Split(np.zeros((57, 1), np.uint8), np.zeros(57, np.int64))
    loader = DeviceLoader(split, scale=1, batch_size=10, shuffle=True, seed=seed)
    loader.epoch = lambda: epoch
    assert np.array_equal(order(seed, epoch, 57), np.concatenate([b.index.numpy() for b in loader]))
