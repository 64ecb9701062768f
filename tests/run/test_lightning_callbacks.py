"""Every callback of Lightning works in a run, or is refused before a file is written: docs/running.md."""

import pathlib
import re
import sys
import types

import lightning
import pytest
import torch
from lightning.pytorch import callbacks as shipped

from ffcore.cli.main import main
from ffcore.errors import UserError

CSV = {"trainer.loggers": ["csv"]}
LONG = {"trainer.max_epochs": 3}

# What a run answers to each callback: an error, or None if it works.
ROWS = {
    "BackboneFinetuning": ({}, {}, "use start.run and start.freeze"),
    "BaseFinetuning": ({}, {}, "use start.freeze"),
    "BasePredictionWriter": ({}, {}, "makes no predictions"),
    "BatchSizeFinder": ({}, {}, "set data.batch_size"),
    "Callback": ({}, {}, None),
    "Checkpoint": ({}, {}, None),
    "DeviceStatsMonitor": ({"cpu_stats": False}, CSV, None),
    "EarlyStopping": ({"monitor": "val_accuracy", "mode": "max"}, {}, None),
    "EMAWeightAveraging": ({}, {}, None),
    "GradientAccumulationScheduler": ({"scheduling": {0: 2}}, {}, "set trainer.accumulate"),
    "LambdaCallback": ({}, {}, None),
    "LearningRateFinder": ({}, {}, "sweep"),
    "LearningRateMonitor": ({}, CSV, None),
    "ModelCheckpoint": ({"monitor": "train_loss"}, {}, None),
    "ModelPruning": ({"pruning_fn": "l1_unstructured", "amount": 0.1}, {}, None),
    "ModelSummary": ({}, {}, None),
    "OnExceptionCheckpoint": ({"dirpath": "x"}, {}, "trainer.checkpoint_every"),
    "ProgressBar": ({}, {}, None),
    "RichModelSummary": ({}, {}, None),
    "RichProgressBar": ({}, {}, None),
    "SpikeDetection": ({}, {}, "one loss per step"),
    "StochasticWeightAveraging": ({"swa_lrs": 0.01, "swa_epoch_start": 1}, LONG, None),
    "ThroughputMonitor": ({"batch_size_fn": lambda batch: len(batch.x)}, CSV, None),
    "Timer": ({"duration": "00:01:00:00"}, {}, None),
    "TQDMProgressBar": ({}, {}, None),
    "WeightAveraging": ({}, {}, None),
}


@pytest.mark.parametrize("name", shipped.__all__)
@pytest.mark.filterwarnings("ignore:When using the `ThroughputMonitor`")
def test_a_callback_works_or_is_refused_before_a_file_is_written(name, quick, tmp_path):
    options, more, refusal = ROWS[name]
    callback = getattr(shipped, name)(**options)
    if refusal is None:
        assert quick(callbacks=[callback], run_dir=tmp_path / "run", **more).results["epochs"] >= 2
    else:
        with pytest.raises(UserError, match=rf"^callbacks\[0\]: {name} .*{refusal}"):
            quick(callbacks=[callback], run_dir=tmp_path / "run", **more)
        assert not (tmp_path / "run").exists()


def test_the_table_of_the_docs_has_every_callback_and_what_is_refused():
    page = pathlib.Path(__file__).parents[2] / "docs/running.md"
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page.read_text(encoding="utf-8"), re.MULTILINE))
    rows = {name: text for name, text in rows.items() if hasattr(shipped, name)}
    assert set(rows) == set(shipped.__all__)
    refused = {name for name, text in rows.items() if text.startswith("refused")}
    assert refused == {name for name, (_, _, refusal) in ROWS.items() if refusal is not None}


def early(**options):
    return {"kind": "EarlyStopping", "options": options}


@pytest.mark.parametrize(
    ("item", "more", "message"),
    [
        (early(monitor="val_loss"), {}, "monitors 'val_loss', which a run does not log; did you mean"),
        (early(monitor="test_accuracy"), {}, "monitors 'test_accuracy', which a run does not log"),
        (early(monitor="val_accuracy"), {"data.validation": 0}, "but data.validation is 0"),
        (
            early(monitor="train_loss", check_on_train_epoch_end=False),
            {},
            "remove check_on_train_epoch_end: false",
        ),
        (
            early(monitor="val_accuracy", check_on_train_epoch_end=True),
            {"trainer.validate_every": 2},
            "measured every 2 epochs",
        ),
        (early(monitor="dense3/loss"), {"schedule.kind": "greedy", **LONG}, "monitors 'dense3/loss'"),
        ({"kind": "ModelCheckpoint", "options": {"monitor": "loss"}}, {}, "monitors 'loss'"),
        ("LearningRateMonitor", {}, "needs a logger: set trainer.loggers"),
        ({"kind": "LambdaCallback", "options": {"on_fit_start": "print"}}, {}, "a function for on_fit_start"),
        ({"kind": "ThroughputMonitor", "options": {"batch_size_fn": "len"}}, CSV, "for batch_size_fn"),
        (
            {
                "kind": "ModelPruning",
                "options": {"pruning_fn": "l1_unstructured", "make_pruning_permanent": False},
            },
            {},
            "remove the option",
        ),
        (
            {"kind": "ModelPruning", "options": {"pruning_fn": "l1_unstructured", "amount": 0.1}},
            {"network": [{"kind": "conv", "channels": 4, "repeat": 2}]},
            "as vectors: body\\.conv2.* has its channels last in memory",
        ),
    ],
)
def test_a_condition_that_is_not_met_is_named_before_a_file_is_written(item, more, message, quick, tmp_path):
    with pytest.raises(UserError, match=rf"^trainer\.callbacks\.0: .*{message}"):
        quick(run_dir=tmp_path / "run", **{"trainer.callbacks": [item], **more})
    assert not (tmp_path / "run").exists()


def test_channels_of_convolutions_are_pruned(quick, tmp_path):
    options = {"pruning_fn": "ln_structured", "pruning_norm": 2, "pruning_dim": 0, "amount": 0.5}
    options |= {"use_global_unstructured": False, "parameter_names": ["weight"]}
    prune = {"kind": "ModelPruning", "options": options}
    run = quick(
        run_dir=tmp_path / "run",
        network=[{"kind": "conv", "channels": 4, "repeat": 2}],
        **{"trainer.callbacks": [prune]},
    )
    weights = [block.body.conv.weight for block in run.module.network.blocks]
    assert all(int((w.flatten(1) == 0).all(1).sum()) >= 2 for w in weights)


class Key(lightning.Callback):
    """Has a state, but a state key that raises."""

    @property
    def state_key(self):
        raise KeyError("key")

    def state_dict(self):
        return {"a": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1], r"callbacks\[0\]: should be a lightning.Callback, .* not 1"),
        ([shipped.Timer], r"callbacks\[0\]: should be a lightning.Callback"),
        (shipped.Timer("00:01:00:00"), "callbacks: should be a list of callbacks"),
        ("EarlyStopping", "callbacks: should be a list of callbacks, not EarlyStopping"),
        ([Key()], r"callbacks\[0\]: its state_key raised KeyError"),
        ([shipped.EarlyStopping(None)], "EarlyStopping monitors None"),
    ],
)
def test_what_is_not_a_callback_is_refused(given, message, quick, tmp_path):
    with pytest.raises(UserError, match=message):
        quick(callbacks=given, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_option_that_fails_later_is_reported_with_the_callback(tmp_path, capsys):
    words = ["run", "digits/ff", "network.0.units=20", "--run-dir", str(tmp_path / "run")]
    # its type is right; the value is refused only when the summary is made
    assert main([*words, "trainer.callbacks=[{kind: ModelSummary, options: {max_depth: -5}}]"]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: trainer.callbacks.0: callback 'ModelSummary': its _summary raised ")
    assert "\n" not in message


def test_a_refused_class_is_not_constructed(quick):
    endless = {"kind": "SpikeDetection", "options": {"window": 10**30}}
    with pytest.raises(UserError, match="one loss per step"):
        quick(**{"trainer.callbacks": [endless]})


def test_two_progress_bars_are_refused(quick):
    with pytest.raises(UserError, match=r"callbacks\.1: trainer\.callbacks\.0 is a progress bar already"):
        quick(**{"trainer.callbacks": ["RichProgressBar", "TQDMProgressBar"]})


def test_a_loss_can_be_monitored_when_not_every_epoch_is_validated(quick):
    item = early(monitor="dense1/loss")
    run = quick(**{"trainer.callbacks": [item], "trainer.validate_every": 2, "trainer.max_epochs": 1})
    assert run.results["epochs"] == 1


def test_the_metric_of_another_callback_can_be_monitored(quick):
    class Logs(lightning.Callback):
        def on_train_epoch_end(self, trainer, module):
            module.log("own", 1.0)

    run = quick(callbacks=[Logs()], **{"trainer.callbacks": [early(monitor="own", patience=0)]})
    assert run.results["epochs"] == 2


def test_a_pruned_network_learns(quick):
    prune = shipped.ModelPruning("l1_unstructured", amount=0.2, use_lottery_ticket_hypothesis=False)
    run = quick(callbacks=[prune], **{"trainer.max_epochs": 5})
    weights = [part.weight for part in run.module.modules() if isinstance(part, torch.nn.Linear)]
    assert all((weight == 0).float().mean() > 0.5 for weight in weights)
    with (run.path / "metrics.csv").open() as table:
        accuracies = [float(line.split(",")[5]) for line in list(table)[1:]]
    assert max(accuracies[2:]) > accuracies[0]


# -- loggers ------------------------------------------------------------------------------------------------


class Raises(lightning.pytorch.loggers.CSVLogger):
    """Raises in one method."""

    def __init__(self, save_dir, method):
        super().__init__(save_dir)

        def fail(*args, **kwargs):
            raise OSError("no network")

        setattr(self, method, fail)


@pytest.mark.parametrize("method", ["log_hyperparams", "log_metrics", "save", "finalize", "log_graph"])
def test_a_logger_that_raises_costs_one_warning(method, quick):
    item = {"kind": f"{__name__}:Raises", "options": {"method": method}}
    with pytest.warns(UserWarning, match=r"trainer\.loggers\.0: .*OSError: no network") as warned:
        run = quick(**{"trainer.loggers": [item], "trainer.max_epochs": 1})
    assert len(warned) == 1
    assert (run.path / "results.json").exists()


@pytest.mark.parametrize("name", ["experiment", "version", "log_dir", "save_dir"])
def test_a_property_of_a_logger_that_raises_costs_one_warning(name, quick, monkeypatch):
    def fail(self):
        raise SystemExit(0)

    monkeypatch.setattr(Raises, name, property(fail), raising=False)
    item = {"kind": f"{__name__}:Raises", "options": {"method": "log_graph"}}
    with pytest.warns(UserWarning, match=rf"trainer\.loggers\.0: .*{name} raised SystemExit"):
        run = quick(callbacks=[shipped.ModelCheckpoint()], **{"trainer.loggers": [item]})
    assert (run.path / "results.json").exists()


def test_loggers_get_the_entries_of_the_recipe(quick):
    run = quick(**CSV)
    (file,) = run.path.rglob("hparams.yaml")
    assert "optimizer.lr: 0.001\n" in file.read_text()


class Opens(lightning.pytorch.loggers.CSVLogger):
    """Opens a run of a tracker, as wandb's logger does, and leaves it open."""

    def log_metrics(self, *args, **kwargs):
        tracker = sys.modules["wandb"]
        if tracker.run is None:
            tracker.run = types.SimpleNamespace(number=len(tracker.made), finish=tracker.finish)
            tracker.made.append(tracker.run)
        self._experiment = tracker.run

    def save(self):
        pass

    def finalize(self, status):
        pass


@pytest.mark.parametrize("own", [False, True])
def test_what_a_logger_opens_is_closed_after_the_run(own, quick, monkeypatch):
    tracker = types.SimpleNamespace(run=None, made=[])
    if own:  # the program has opened a run itself
        tracker.run = types.SimpleNamespace()

    def finish(exit_code):
        tracker.run = None

    tracker.finish = finish
    monkeypatch.setitem(sys.modules, "wandb", tracker)
    for _ in range(2):
        quick(**{"trainer.loggers": [f"{__name__}:Opens"], "trainer.max_epochs": 1})
    assert len(tracker.made) == (0 if own else 2)
    assert (tracker.run is not None) == own
