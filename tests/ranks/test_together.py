"""Communication of ranks: sums, rows, votes, and comparison of parameters."""

import pytest
import torch

from ffcore.errors import RunError, UserError
from ffcore.ranks.drift import checksums
from ffcore.ranks.join import difference

SMALL = ["network.0.units=40"]


def test_sums_rows_and_objects_are_the_same_on_both_ranks(pool):
    for rank, result in enumerate(pool("sums")):
        assert result["sum"].tolist() == [2, 1]
        assert result["begun"].tolist() == [3]
        assert result["rows"].tolist() == [[0, 0]] * 3 + [[1, 1]]
        assert result["objects"] == [{"rank": 0}, {"rank": 1}]
        mine = [[0, 0], [1, 1], [2, 2]] if rank == 0 else [[3, 3]]
        assert result["gradient"].tolist() == mine


@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_update_sums_the_parameters_once_and_one_count_for_each_and_for_samples(pool, accumulate):
    steps, options = 6, [*SMALL, f"trainer.accumulate={accumulate}"]
    for result in pool("traffic", "digits/ff", options, steps):
        each = [size + 4 * (2 + 1) for size in result["trainable"]]  # weight and bias, and samples
        assert len(each) == 3
        assert sorted(result["bytes"]) == sorted(each * (steps // accumulate))


def test_different_parameters_raise_with_the_name_of_the_block(pool):
    for result in pool("drifted", SMALL):
        assert isinstance(result, RunError)
        assert "after step 5 block dense2 of rank 1 differs from that of rank 0" in str(result)


def test_a_checksum_depends_on_every_bit_and_its_position():
    block = torch.nn.Linear(3, 2)
    before = checksums([block])
    with torch.no_grad():
        block.weight[0, 0] = torch.nextafter(block.weight[0, 0], torch.tensor(9.0))
    assert checksums([block]) != before
    double = torch.nn.Linear(3, 2).double()
    other = checksums([double])
    with torch.no_grad():
        double.bias[1] = -double.bias[1]
    assert checksums([double]) != other
    twin = torch.nn.Linear(3, 2)
    assert checksums([twin, block])[1] == checksums([block])[0]


def test_another_recipe_on_another_rank_raises_before_anything_is_written(pool, tmp_path):
    same = ["trainer.devices=2", "trainer.accelerator=cpu"]
    each = [{"overrides": [*same, f"optimizer.lr={lr}"]} for lr in (0.1, 0.2)]
    for result in pool("whole", "digits/ff", str(tmp_path / "run"), each=each):
        assert isinstance(result, UserError)
        assert str(result) == "rank 1 differs from rank 0: its recipe.optimizer.lr is 0.2, not 0.1"
    assert not (tmp_path / "run").exists()


def test_another_version_on_another_rank_raises_before_anything_is_written(pool, tmp_path):
    same = ["trainer.devices=2", "trainer.accelerator=cpu"]
    each = [{"versions": {"torch": version}} for version in ("2.9", "2.8")]
    for result in pool("whole", "digits/ff", str(tmp_path / "run"), same, each=each):
        assert isinstance(result, UserError)
        assert str(result) == "rank 1 differs from rank 0: its versions.torch is '2.8', not '2.9'"
    assert not (tmp_path / "run").exists()


def test_both_ranks_get_a_wish_after_the_same_step(pool):
    one, other = pool("voted", each=[{"wishes": [99, 5]}, {"wishes": [12, 99]}])
    assert one == other
    assert list(one) == sorted(one)
    first = [min((step for step, result in one.items() if result[i]), default=0) for i in range(2)]
    assert first[0] > 12
    assert first[1] > 5


def test_the_first_difference_is_named():
    assert difference({"a": {"b": 1}}, {"a": {"b": 1}}) is None
    assert difference({"a": {"b": [1]}}, {"a": {"b": [2]}}) == ("a.b", [1], [2])
    assert difference({"a": 1}, {"a": 1, "c": 2}) == ("c", None, 2)
