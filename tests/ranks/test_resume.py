"""A run that was stopped on two ranks is resumed on two or on one, and the reverse."""

import re

import pytest
import torch

HERE = ["trainer.accelerator=cpu", "trainer.threads=1"]
SMALL = ["network.0.units=40", "trainer.max_epochs=2", *HERE]
TWO = ["trainer.devices=2"]
PIPELINE = [*TWO, "trainer.strategy=ff_pipeline"]
NORMED = [
    *("network=[{kind: conv-norm, channels: 20, stride: 2}, {kind: conv-norm, channels: 20}]", *HERE),
    *("trainer.max_epochs=2", "trainer.accumulate=3"),
]


def weights(folder, name="last.ckpt"):
    return torch.load(folder / "checkpoints" / name, weights_only=True)["state_dict"]


def same(some, others):
    assert some.keys() == others.keys()
    return all(torch.equal(some[name], others[name]) for name in some)


def stopped_after(answers):
    """Returns the step after which both ranks have stopped."""
    (steps,) = {int(re.search(r"of step (\d+)", answer)[1]) for answer in answers}
    return steps


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("digits/channel", [*NORMED, *PIPELINE]),
        ("digits/ff", [*SMALL, *TWO]),
        ("digits/channel", [*NORMED, *TWO]),
    ],
    ids=["pipeline of convolutions", "data parallel", "running statistics and half a group"],
)
def test_a_resumed_run_has_the_results_of_an_uninterrupted_run(pool, tmp_path, recipe, options):
    through, cut = tmp_path / "through", tmp_path / "cut"
    assert pool("whole", recipe, str(through), options) == ["finished"] * 2
    answers = pool("whole", recipe, str(cut), options, press=2)
    assert 2 < stopped_after(answers) < 25, "within the first epoch"
    assert pool("whole", recipe, str(cut), []) == ["finished"] * 2
    assert same(weights(cut), weights(through))


def test_a_pipeline_is_resumed_in_one_process_and_back(pool, work, tmp_path):
    one, there, back = tmp_path / "one", tmp_path / "there", tmp_path / "back"
    assert work.whole("digits/ff", str(one), SMALL) == "finished"
    stopped_after(pool("whole", "digits/ff", str(there), [*SMALL, *PIPELINE], press=2))
    assert work.whole("", str(there), ["trainer.devices=1", "trainer.strategy=auto"]) == "finished"
    assert same(weights(there), weights(one))
    stopped_after([work.whole("digits/ff", str(back), SMALL, press=2)])
    assert pool("whole", "", str(back), PIPELINE) == ["finished"] * 2
    assert same(weights(back), weights(one))
    assert (back / "metrics.csv").read_text().count("\n") == 3


@pytest.mark.thorough
def test_a_pipeline_within_an_accumulation_is_resumed_as_data_parallel(pool, work, tmp_path):
    one, there = tmp_path / "one", tmp_path / "there"
    accumulated = [*SMALL, "trainer.accumulate=5", "trainer.precision=64-true"]
    assert work.whole("digits/ff", str(one), accumulated) == "finished"
    stopped_after(pool("whole", "digits/ff", str(there), [*accumulated, *PIPELINE], press=2))
    assert pool("whole", "", str(there), ["trainer.strategy=ff_local"]) == ["finished"] * 2
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(there)[name], value, rtol=0, atol=1e-9)


def test_data_parallel_is_resumed_in_one_process_within_rounding(pool, work, tmp_path):
    one, there = tmp_path / "one", tmp_path / "there"
    accumulated = [*SMALL, "trainer.accumulate=5", "trainer.precision=64-true"]
    assert work.whole("digits/ff", str(one), accumulated) == "finished"
    stopped_after(pool("whole", "digits/ff", str(there), [*accumulated, *TWO], press=2))
    assert work.whole("", str(there), ["trainer.devices=1"]) == "finished"
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(there)[name], value, rtol=0, atol=1e-9)
