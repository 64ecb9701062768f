from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.data.statistics import statistics
from ffcore.errors import UserError


def numbered(n: int) -> Split:
    """Every pixel of a sample is the index of the sample."""
    x = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 3, 3))
    return Split(x, np.arange(n) % 10)


def loader(n: int = 23, **options: Any) -> DeviceLoader:
    return DeviceLoader(numbered(n), **{"scale": 1.0, "batch_size": 5, "shuffle": True, **options})


def order(load: DeviceLoader) -> list[int]:
    return torch.cat([batch.index for batch in load]).tolist()


def test_every_sample_comes_once_with_its_label() -> None:
    batches = list(loader())
    assert sorted(torch.cat([b.index for b in batches]).tolist()) == list(range(23))
    for batch in batches:
        assert torch.equal(batch.x, batch.index.float()[:, None, None, None].expand(-1, 2, 3, 3))
        assert torch.equal(batch.y, batch.index % 10)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = loader(seed=1)
    assert order(first) == order(first) == order(loader(seed=1))
    resumed = loader(seed=1)
    resumed.epoch = first.epoch = lambda: 7
    assert order(first) == order(resumed)


def test_neighbouring_seeds_and_epochs_have_different_orders() -> None:
    orders = set()
    for seed in range(4):
        for epoch in range(4):
            load = loader(seed=seed)
            load.epoch = lambda epoch=epoch: epoch
            orders.add(tuple(order(load)))
    assert len(orders) == 16


def test_without_shuffling_the_stored_order_is_kept() -> None:
    assert order(loader(shuffle=False)) == list(range(23))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("batch_size", [5, 6])
def test_the_batches_of_all_ranks_together_are_the_global_batch(world: int, batch_size: int) -> None:
    whole = loader(batch_size=batch_size)
    shares = [loader(batch_size=batch_size, rank=rank, world=world) for rank in range(world)]
    assert all(len(share) == len(whole) for share in shares)
    for one, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([p.x for p in parts]), one.x)
        assert torch.equal(torch.cat([p.y for p in parts]), one.y)
        sizes = [len(p.y) for p in parts]
        assert max(sizes) - min(sizes) <= 1
        assert [p.first for p in parts] == [sum(sizes[:rank]) for rank in range(world)]
        assert {p.total for p in parts} == {len(one.y)}


def test_a_rank_without_rows_gets_a_placeholder() -> None:
    idle, busy = (list(loader(n=11, rank=rank, world=2))[-1] for rank in range(2))
    assert [(len(last.x), last.total, last.counts) for last in (idle, busy)] == [(1, 1, False), (1, 1, True)]
    assert torch.equal(idle.x, busy.x)


def test_the_last_batch_has_the_remaining_samples() -> None:
    assert [batch.total for batch in loader()] == [5, 5, 5, 5, 3]
    assert (len(loader()), len(loader(n=20))) == (5, 4)


def test_samples_are_scaled_and_cast() -> None:
    batch = next(iter(loader(scale=1 / 255, dtype=torch.bfloat16)))
    assert batch.x.dtype == torch.bfloat16
    assert torch.equal(batch.x.flatten(1)[:, 0], (batch.index * (1 / 255)).bfloat16())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_standardised_samples_have_zero_mean_and_unit_deviation(dtype: type) -> None:
    x = np.random.default_rng(0).integers(0, 99, (40, 2, 3, 3)).astype(dtype)
    split = Split(x, np.zeros(40, np.int64))
    mean, std = statistics(split, 0.1)
    load = DeviceLoader(split, scale=0.1, batch_size=40, shuffle=False, mean=mean, std=std)
    for _ in range(2):  # the stored samples are not changed
        got = next(iter(load)).x
        torch.testing.assert_close(got.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(got.std((0, 2, 3), correction=0), torch.ones(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1, "world": 2}, "at least the number of ranks, 2"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_invalid_settings_raise(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        loader(**options)
