"""Equal seeds give equal results, and the test split does not influence them."""

import numpy as np
import torch

from ffcore.data.arrays import InMemory


def weights(run):
    return torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(one[key], two[key]) for key in one)


def test_one_seed_gives_one_result(quick):
    one, two, other = quick(seed=3), quick(seed=3), quick(seed=4)
    assert same(weights(one), weights(two))
    assert one.results["test"] == two.results["test"]
    assert one.results["val"] == two.results["val"]
    assert not same(weights(one), weights(other))


def test_random_numbers_of_the_program_change_nothing(quick):
    one = quick()
    torch.rand(7)
    assert same(weights(one), weights(quick()))


def test_the_test_split_is_not_read_before_the_end(quick):
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 12), dtype=np.float32), np.arange(300) % 4
    x[np.arange(300), y] += 1
    honest = InMemory(x[:200], y[:200], x[200:], y[200:])
    poisoned = InMemory(x[:200], y[:200], 9 - x[200:], (y[200:] + 1) % 4)
    options = {"data.standardise": True, "trainer.select": "best"}
    one, two = quick(data=honest, **options), quick(data=poisoned, **options)
    assert same(weights(one), weights(two))
    assert one.results["val"] == two.results["val"]
    assert one.results["epoch_selected"] == two.results["epoch_selected"]
    assert one.results["test"] != two.results["test"]
