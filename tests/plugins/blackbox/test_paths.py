"""Shortest paths beside a search of all paths; maps of digits; a run around the solver."""

import numpy as np
import pytest
import torch

from ffcore.data.digits import Digits
from ffcore.errors import RunError
from ffcore.interfaces import Context
from ffcore.local import BoxStage
from ffcore.recipe.load import load
from ffcore.run.train import train
from ffcore_blackbox.paths import COSTS, DigitMaps, ShortestPath, shortest_paths, unique


def all_paths(side):
    """All paths without a repeated cell, from the first cell to the last."""

    def grow(path):
        if path[-1] == (side - 1, side - 1):
            yield path
            return
        i, j = path[-1]
        for cell in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if min(cell) >= 0 and max(cell) < side and cell not in path:
                yield from grow([*path, cell])

    return list(grow([(0, 0)]))


def digit_splits():
    digits = Digits().load()
    return digits.train, digits.test


def test_no_other_path_is_shorter():
    costs = np.random.default_rng(0).uniform(0.1, 1, (20, 4, 4)) ** 3  # some detours pay
    for cost, found in zip(costs, shortest_paths(costs), strict=True):
        best = min(all_paths(4), key=lambda path: sum(cost[cell] for cell in path))
        right = np.zeros((4, 4))
        right[tuple(zip(*best, strict=True))] = 1
        np.testing.assert_array_equal(found, right)


def test_the_box_finds_the_most_probable_path():
    logits = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    box = ShortestPath()
    box.setup(Context((2, 3, 3), 2))
    made = BoxStage(box)(logits)
    p = logits.softmax(1)[:, 1].numpy()
    for prob, on_path in zip(p, made[:, 0].numpy(), strict=True):
        best = max(all_paths(3), key=lambda path: np.prod([prob[cell] for cell in path]))
        assert set(map(tuple, np.argwhere(on_path == 1))) == set(best)
    with pytest.raises(ValueError, match=r"shortest-path: needs maps \(2, H, W\) .*, not \(3, 3, 3\)"):
        box.setup(Context((3, 3, 3), 2))


def test_targets_of_a_map_are_the_cheapest_path_of_its_digits():
    data = DigitMaps(side=3, train=30, test=10).load()
    assert data.train.x.shape == (30, 64, 3, 3)
    assert data.train.x.dtype == np.uint8
    assert data.test.y.shape == (10, 3, 3)
    known = {image.tobytes(): k for s in digit_splits() for image, k in zip(s.x, s.y, strict=True)}
    for x, y in zip(data.train.x, data.train.y, strict=True):
        cells = x.transpose(1, 2, 0).reshape(9, 8, 8)
        cost = np.array([COSTS[known[np.ascontiguousarray(c).tobytes()]] for c in cells]).reshape(3, 3)
        best = min(all_paths(3), key=lambda path: sum(cost[cell] for cell in path))
        assert set(map(tuple, np.argwhere(y == 1))) == set(best)


def test_maps_with_several_shortest_paths_are_known():
    costs = np.random.default_rng(1).integers(1, 5, size=(200, 3, 3)).astype(float)
    for cost, only in zip(costs, unique(costs), strict=True):
        sums = sorted(sum(cost[cell] for cell in path) for path in all_paths(3))
        assert only == (sums[0] < sums[1] - 1e-9)
    assert 20 < unique(costs).sum() < 180


def test_no_map_of_the_data_has_a_second_cheapest_path():
    data = DigitMaps(side=4, train=300, test=50).load()
    digits = {image.tobytes(): k for s in digit_splits() for image, k in zip(s.x, s.y, strict=True)}
    cells = data.train.x.transpose(0, 2, 3, 1).reshape(300, 16, 8, 8)
    costs = [[COSTS[digits[np.ascontiguousarray(cell).tobytes()]] for cell in cells_of] for cells_of in cells]
    assert unique(np.array(costs).reshape(300, 4, 4)).all()


def test_non_finite_logits_are_an_error():
    logits = torch.zeros(2, 2, 3, 3)
    logits[1, 0, 1, 1] = float("nan")
    with pytest.raises(RunError, match="its input has non-finite logits"):
        BoxStage(ShortestPath(), "solver")(logits)


@pytest.mark.thorough
def test_blocks_around_the_solver_learn_whole_paths(tmp_path):
    options = ["data={kind: digit-maps, side: 4, train: 800, test: 200, batch_size: 50, validation: 0.1}"]
    recipe = load("digits/blackbox-path", [*options, "trainer.max_epochs=20"])
    run = train(recipe, tmp_path / "run", report=False)
    assert run.results.test["exact_match"] > 0.6
    per_block = run.results.test.per_block
    assert per_block["path"] == run.results.test["exact_match"]
    assert per_block["odds"] < 0.1  # without the solver
