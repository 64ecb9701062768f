"""An interrupted and resumed run has exactly the results of an uninterrupted one."""

import csv
import json
import shutil
from contextlib import contextmanager

import lightning
import numpy as np
import pytest
import torch

import ffcore
from ffcore.errors import RunError, TimeUpError, UserError
from ffcore.plugin import manager
from ffcore.run import environment
from ffcore.run.resume import resume
from ffcore.run.train import train
from tests.chosen import thorough_but

PLUGIN = """
from ffcore.plugin import hookimpl
@hookimpl
def ffcore_register(registry):
    registry.goodness("x", "nowhere:X")
"""

PER_EPOCH = 13  # batches of 100 in 1,293 samples

RECIPES = {
    "ff": ("digits/ff", {}),
    "hard negatives and peers": (
        "digits/ff",
        {
            "readouts": {"softmax": {"kind": "softmax"}},
            "algorithm.negatives": "hard",
            "block.penalties": {"peers": {"kind": "peer-normalisation"}},
            "network.0.activation": "relu-pass-through",
            "optimizer": {"kind": "sgd", "lr": 0.01, "momentum": 0.9},
        },
    ),
    "unsupervised": ("digits/ff-unsupervised", {}),
    "backprop": ("digits/ff", {"algorithm": "backprop", "contribution": "sum"}),
    "greedy": ("digits/ff", {"schedule": {"kind": "greedy"}, "trainer.max_epochs": 3}),
    "greedy, cached": ("digits/ff", {"schedule": {"kind": "greedy", "cache": True}, "trainer.max_epochs": 3}),
    "overlapping windows": ("digits/ff", {"schedule": {"kind": "overlapping"}}),
    "interleaved": ("digits/ff", {"schedule": {"kind": "interleaved", "spans": [[0, 1], [0, 2], [1, 2]]}}),
    "accumulated": ("digits/ff", {"trainer.accumulate": 4}),
    "best, augmented": (
        "digits/ff",
        {"trainer.select": "best", "data.augment": ["shift"], "lr_schedule": {"kind": "cosine"}},
    ),
    "64 bits": ("digits/ff", {"trainer.precision": "64-true"}),
    "recurrent": ("digits/ff-recurrent", {"network.0.units": [30, 20]}),
    "predictive": ("digits/pff", {"network.0.units": [30, 20], "network.0.steps": 4}),
    "black box, greedy": (
        "digits/blackbox-quantise",
        {"network.1.fit": "finished", "schedule": {"kind": "greedy"}, "trainer.max_epochs": 3},
    ),
    "black box, overlapping": (
        "digits/blackbox-quantise",
        {"network.1.fit": 1, "network.1.overlap": True, "lr_schedule": {"kind": "cosine"}},
    ),
}
KEPT = (
    "hard negatives and peers",
    "greedy, cached",
    "accumulated",
    "best, augmented",
    "predictive",
    "black box, overlapping",
)


class CutError(RuntimeError):
    """Simulates the sudden end of a process: only the files are left."""


class CutAt(lightning.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            raise CutError


@contextmanager
def fails_to_measure(monkeypatch):
    def measure(*args):
        raise CutError

    with monkeypatch.context() as patch:
        patch.setattr("ffcore.run.arrays.measure", measure)
        yield


def weights(path, name="last"):
    return torch.load(path / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]


def rows(path):
    with (path / "metrics.csv").open() as file:
        timed = {"seconds", "samples_per_s"}
        return [{k: v for k, v in row.items() if k not in timed} for row in csv.DictReader(file)]


def assert_same(one, other):
    for name in ("last", "best"):
        own, expected = weights(one, name), weights(other, name)
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[key], expected[key]) for key in own), name
    assert rows(one) == rows(other)
    with np.load(one / "arrays.npz") as own, np.load(other / "arrays.npz") as expected:
        assert set(own) == set(expected)
        assert all(np.array_equal(own[key], expected[key], equal_nan=True) for key in own), "arrays"
    own, expected = (json.loads((path / "results.json").read_text()) for path in (one, other))
    for key in ("val", "test", "epochs", "steps", "epoch_selected"):
        assert own[key] == expected[key], key


@pytest.mark.parametrize("cuts", [[PER_EPOCH - 4, PER_EPOCH + 9]], ids=["within both epochs"])
@pytest.mark.parametrize(("recipe", "more"), thorough_but(KEPT, RECIPES))
def test_interrupted_twice_and_resumed_is_the_same(quick, recipe, more, cuts):
    more = {**more, "trainer.checkpoint_every": 3}
    whole = quick(recipe, **more).path
    part = whole.with_name("part")
    with pytest.raises(CutError):
        quick(recipe, callbacks=[CutAt(cuts[0])], run_dir=part, **more)
    with pytest.raises(CutError):
        ffcore.resume(part, callbacks=[CutAt(cuts[1])])
    run = ffcore.resume(part)
    # our callback is called for a batch before the checkpoint of that step
    assert run.results["resumed_after_steps"] == [(cut - 1) // 3 * 3 for cut in cuts]
    assert_same(part, whole)


@pytest.mark.parametrize("step", [2, PER_EPOCH, PER_EPOCH + 1, 2 * PER_EPOCH])
def test_without_checkpoints_within_epochs_it_resumes_from_the_last_epoch(quick, step):
    whole = quick().path
    part = whole.with_name("part")
    with pytest.raises(CutError):
        quick(callbacks=[CutAt(step)], run_dir=part)
    ffcore.resume(part)
    assert_same(part, whole)


def test_a_run_killed_during_its_measurements_does_not_train_again(quick, monkeypatch):
    whole = quick().path
    part = whole.with_name("part")
    with fails_to_measure(monkeypatch), pytest.raises(CutError):
        quick(run_dir=part)
    ffcore.resume(part, callbacks=[CutAt(2 * PER_EPOCH)])
    assert_same(part, whole)


@pytest.mark.parametrize(
    "more", [{"trainer.max_steps": 20}, {"trainer.patience": 1, "trainer.max_epochs": 9}]
)
def test_a_run_that_ended_early_does_not_train_again(quick, monkeypatch, more):
    if "trainer.patience" in more:
        more["optimizer.lr"] = 1e-12
    whole = quick(**more).path
    part = whole.with_name("part")
    with fails_to_measure(monkeypatch), pytest.raises(CutError):
        quick(run_dir=part, **more)
    ffcore.resume(part)
    assert_same(part, whole)


def test_patience_ends_a_run_after_validations_without_improvement(quick):
    more = {"trainer.patience": 2, "trainer.max_epochs": 9, "optimizer.lr": 1e-12}
    run = quick(**more)
    assert run.results["epochs"] == 3


def test_a_run_out_of_time_can_be_resumed(quick):
    whole = quick().path
    recipe = ffcore.recipe.load.load(str(whole / "config.yaml"))
    part = whole.with_name("part")
    with pytest.raises(TimeUpError, match="the time is up"):
        train(recipe, part, max_time=0.0)
    assert torch.load(part / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 1
    with pytest.raises(TimeUpError):
        resume(part, max_time=0.0)
    assert ffcore.resume(part).results["resumed_after_steps"] == [1, 2]
    assert_same(part, whole)


def test_a_damaged_checkpoint_is_replaced_by_the_one_before_it(quick):
    whole = quick(**{"trainer.checkpoint_every": 3}).path
    part = whole.with_name("part")
    with pytest.raises(CutError):
        quick(callbacks=[CutAt(25)], run_dir=part, **{"trainer.checkpoint_every": 3})
    last = part / "checkpoints/last.ckpt"
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    with pytest.warns(UserWarning, match=r"last.ckpt: .*wrong checksum.*the checkpoint before it"):
        ffcore.resume(part)
    assert_same(part, whole)


def cut_short(quick, step=25, **more):
    with pytest.raises(CutError):
        quick(callbacks=[CutAt(step)], **more)


@pytest.fixture
def part(quick, tmp_path):
    cut_short(quick, run_dir=tmp_path / "part")
    return tmp_path / "part"


def test_damaged_results_are_named_on_resume(quick):
    run = quick()
    (run.path / "results.json").write_text('{"test":')
    with pytest.raises(UserError, match=r"results\.json.* is not JSON.*; delete results\.json to resume"):
        ffcore.resume(run.path)
    (run.path / "results.json").unlink()
    assert ffcore.resume(run.path).results.test == run.results.test


def test_a_finished_run_is_not_resumed(finished):
    with pytest.raises(UserError, match=r"the run is finished; .* to train on .* with start\.run=.*run"):
        ffcore.resume(finished.path)


def test_another_directory_raises(tmp_path):
    with pytest.raises(UserError, match=r"not a run directory: it has no config.yaml"):
        ffcore.resume(tmp_path)


def test_another_recipe_raises(part):
    other = ffcore.recipe.load.load(str(part / "config.yaml"), ["optimizer.lr=0.5"])
    with pytest.raises(UserError, match=r"another recipe: its optimizer\.lr is 0\.001, not 0\.5"):
        resume(part, recipe=other)


def test_only_damaged_checkpoints_raise(part):
    for path in (part / "checkpoints").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="the checkpoint cannot be loaded"):
        ffcore.resume(part)


def test_an_edited_config_raises(part):
    config = part / "config.yaml"
    config.write_text(config.read_text().replace("seed: 1\n", "seed: 2\n", 1))
    with pytest.raises(UserError, match=r"config.yaml has been changed.*: its seed is 2, not 1"):
        ffcore.resume(part)


def test_the_command_that_began_a_run_is_its_command(quick, tmp_path, monkeypatch):
    path = quick().path
    recipe = ffcore.recipe.load.load(str(path / "config.yaml"))
    with pytest.raises(TimeUpError):
        train(recipe, tmp_path / "part", max_time=0.0, command="ffcore run this")
    assert resume(tmp_path / "part", command="ffcore run --resume").results["command"] == "ffcore run this"


def test_the_commit_is_that_of_the_code_at_the_start_of_each_part(quick, tmp_path, monkeypatch):
    found = iter(["first", "second"])
    monkeypatch.setattr(environment, "git_commit", lambda: next(found))
    cut_short(quick, run_dir=tmp_path / "run")
    assert resume(tmp_path / "run").results["git_commit"] == "first, second"


def test_a_plugin_that_has_changed_since_the_run_began_is_reported(quick, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    manager.use(manager.Plugins.load([str(file)]))
    try:
        cut_short(quick, run_dir=tmp_path / "run")
        file.write_text(PLUGIN + "# changed\n")
        with pytest.warns(UserWarning, match="plugin mine is sha256:.* was sha256:.* when the run began"):
            run = resume(tmp_path / "run")
        assert run.results["versions"]["plugin mine"].startswith("sha256:")
    finally:
        manager.use(None)


def test_the_peak_memory_is_that_of_all_parts(part):
    change(part, peak_memory=2**60)
    assert ffcore.resume(part).results["peak_memory"] == 2**60


def test_resuming_without_data_from_python_raises(quick, tmp_path):
    from ffcore.data.arrays import InMemory

    x, y = np.random.default_rng(0).random((60, 12)), np.arange(60) % 3
    cut_short(quick, 3, data=InMemory(x, y, x, y), run_dir=tmp_path / "part", **{"data.batch_size": 10})
    with pytest.raises(
        UserError, match=r"given from Python; resume it with ffcore.resume\('.*part', data=…\)"
    ):
        ffcore.resume(tmp_path / "part")


def test_a_run_is_resumed_and_evaluated_from_any_directory(quick, tmp_path, monkeypatch):
    from ffcore.run.evaluate import evaluate

    x, y = np.random.default_rng(0).random((60, 12)), np.arange(60) % 3
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    np.savez("mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    more = {"data.kind": "arrays", "data.path": "mine.npz", "data.batch_size": 10}
    cut_short(quick, 3, run_dir=tmp_path / "part", **more)
    monkeypatch.chdir(tmp_path / "there")
    tested = ffcore.resume(tmp_path / "part").results["test"]["accuracy"]
    assert evaluate(tmp_path / "part")["accuracy"] == tested


@pytest.mark.parametrize("name", ["metrics.csv", "arrays.npz", "results.json"])
def test_a_full_disk_gives_one_line_for_every_file(quick, tmp_path, monkeypatch, name):
    from ffcore import files

    write = files._write_whole

    def full(path, how):
        if path.name == name:
            raise OSError(28, "No space left on device")
        write(path, how)

    part = tmp_path / "part"
    monkeypatch.setattr("ffcore.files._write_whole", full)
    with pytest.raises(
        RunError, match=rf"{name}: cannot be written \(No space left.*free disk space.*--resume {part}"
    ):
        quick(run_dir=part)
    monkeypatch.setattr("ffcore.files._write_whole", write)
    ffcore.resume(part)


def test_a_disk_that_is_full_from_the_start_is_not_changed(quick, tmp_path, monkeypatch):
    def full(path, how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ffcore.files._write_whole", full)
    with pytest.raises(UserError, match=r"run directory .*run: cannot be written to: No space left"):
        quick(run_dir=tmp_path / "deep" / "run")
    assert not (tmp_path / "deep").exists()


def test_a_read_only_directory_raises_before_training(part, monkeypatch):
    def read_only(*args, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    with pytest.raises(UserError, match="part: cannot be written to: Read-only file system"):
        ffcore.resume(part)


def change(part, **ffcore_part):
    path = part / "checkpoints/last.ckpt"
    state = torch.load(path, weights_only=True)
    state["ffcore"] |= ffcore_part
    torch.save(state, path)


def test_a_checkpoint_of_a_newer_version_raises(part):
    change(part, format=99, version="9.9")
    with pytest.raises(UserError, match=r"made by ffcore 9\.9 in format 99.*install a newer ffcore"):
        ffcore.resume(part)


@pytest.mark.parametrize("old", [1, 2])
def test_a_checkpoint_of_an_older_format_resumes(quick, old):
    more = {"trainer.checkpoint_every": 3}
    whole = quick(**more).path
    part = whole.with_name("part")
    cut_short(quick, run_dir=part, **more)
    for path in (part / "checkpoints").iterdir():
        state = torch.load(path, weights_only=True)
        found = state.pop("partial_epoch")
        for each in found["ranks"]:
            each["steppers"] = each.pop("optimizers")
        if old == 1:
            only = found["ranks"][0]
            steppers = {
                name: {k: v for k, v in s.items() if k != "batches"} for name, s in only["steppers"].items()
            }
            found = {"meter": only["meter"], "steppers": steppers, "val": found["val"]}
        torch.save({**state, "half_done": found, "ffcore": state["ffcore"] | {"format": old}}, path)
    ffcore.resume(part)
    assert_same(part, whole)


def test_other_data_raise(part):
    state = torch.load(part / "checkpoints/last.ckpt", weights_only=True)
    change(part, data={**state["ffcore"]["data"], "provenance": {"digits": "0"}})
    with pytest.raises(UserError, match="data: the provenance of the data set has changed"):
        ffcore.resume(part)


def test_two_processes_cannot_write_to_one_run(part):
    from ffcore.run import directory

    with directory.locked(part), pytest.raises(UserError, match="another process is writing"):
        ffcore.resume(part)


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before(quick, tmp_path, monkeypatch):
    from ffcore import files

    write, count = files.write_whole, []

    def full(path, how):
        if path.name == "last.ckpt":
            count.append(path)
            if len(count) == 2:
                raise OSError(28, "No space left on device")
        write(path, how)

    whole = quick().path
    monkeypatch.setattr("ffcore.files.write_whole", full)
    with pytest.raises(RunError, match=r"No space left.*free disk space"):
        quick(run_dir=tmp_path / "part")
    monkeypatch.setattr("ffcore.files.write_whole", write)
    ffcore.resume(tmp_path / "part")
    assert_same(tmp_path / "part", whole)
    shutil.rmtree(tmp_path / "part")
