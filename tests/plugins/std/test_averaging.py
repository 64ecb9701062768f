"""Averages of weights over a growing part of a run."""

import signal

import lightning as L
import pytest
import torch
from torch import nn

import ffcore
from ffcore.cli.main import main
from ffcore.errors import UserError
from ffcore.report.record import RunRecord
from ffcore.report.summary import summary
from ffcore_std.averaging import GrowingAverage

FEW = {
    "network.0.units": 20,
    "trainer.threads": 1,
    "trainer.arrays": False,
    "report": False,
    "data.batch_size": 100,
}


def averages(values, share):
    """Returns the averages of a weight that has these values after its updates."""
    callback, layer, found = GrowingAverage(share), nn.Linear(1, 1, bias=False), []
    for value in values:
        nn.init.constant_(layer.weight, value)
        callback.update(layer)
        found.append(callback._average["weight"].item())
    return found


def test_the_whole_share_is_the_mean_of_all_weights():
    assert averages([1.0, 2.0, 6.0], share=1) == pytest.approx([1, 1.5, 3])


def test_the_average_follows_its_formula():
    # 1; 1 + (3 − 1)/1.5; then + (0 − that)/2
    assert averages([1.0, 3.0, 0.0], share=0.5) == pytest.approx([1, 1 + 2 / 1.5, (1 + 2 / 1.5) / 2])


def test_a_late_average_has_a_long_memory_and_an_early_one_a_short():
    late = averages([0.0] * 200 + [1.0] * 20, share=0.1)[-1]
    early = averages([0.0] * 5 + [1.0] * 20, share=0.1)[-1]
    assert late < 0.7
    assert early > 0.98


@pytest.mark.parametrize("share", [0.0, 1.5, float("nan"), "0.1", None])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(UserError, match=r"^share: should be .*above 0 and at most 1, not"):
        GrowingAverage(share)


@pytest.mark.parametrize("every", [0, -5, 2.5, True])
def test_an_impossible_number_of_steps_is_refused(every):
    with pytest.raises(UserError, match=rf"^every: should be an integer from 1, not {every}$"):
        GrowingAverage(every=every)


def test_a_recipe_with_an_impossible_option_leaves_no_run_directory(tmp_path, capsys):
    item = "{kind: 'ffcore_std.averaging:GrowingAverage', options: {every: 0}}"
    words = ["digits/ff", f"trainer.callbacks=[{item}]", "--run-dir", str(tmp_path / "run")]
    assert main(["run", *words]) == 2
    assert "every: should be an integer from 1, not 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_average_of_one_step_is_warned_of(tmp_path):
    average = GrowingAverage(every=100_000)
    with pytest.warns(UserWarning, match="those of step 1, .* every is 100000, but the run has 13"):
        ffcore.train(
            "digits/ff", run_dir=tmp_path / "run", callbacks=[average], **FEW, **{"trainer.max_epochs": 1}
        )


class Watch(GrowingAverage):
    """Keeps the weights of one parameter: those of learning, and those of validation."""

    def __init__(self):
        super().__init__(every=3)
        self.learned, self.validated = [], []

    def on_validation_epoch_end(self, trainer, pl_module):
        self.validated.append(next(pl_module.parameters()).detach().clone())

    def on_validation_end(self, trainer, pl_module):
        super().on_validation_end(trainer, pl_module)
        self.learned.append(next(pl_module.parameters()).detach().clone())


def test_a_run_validates_and_tests_the_average_and_learns_from_the_last_weights(tmp_path):
    plain, watch = Watch(), Watch()
    plain.update = lambda module: None
    runs = [
        ffcore.train(
            "digits/ff", run_dir=tmp_path / str(i), callbacks=[each], **FEW, **{"trainer.max_epochs": 2}
        )
        for i, each in enumerate((plain, watch))
    ]
    assert all(map(torch.equal, plain.learned, watch.learned))  # learning is the same
    assert not torch.equal(watch.validated[0], watch.learned[0])
    assert torch.equal(next(runs[1].module.parameters()), watch.validated[-1])
    loaded = ffcore.load(tmp_path / "1")
    assert torch.equal(next(loaded.module.parameters()), watch.validated[-1])
    assert runs[0].results.averages == "averages over the last 0.1 of the steps (Watch)"
    line = "| weights from | the last epoch (2): averages over the last 0.1 of the steps (Watch) |"
    assert line in summary(RunRecord.read(tmp_path / "1")).body


@pytest.mark.usefixtures("undrawn")
def test_a_resumed_run_has_the_same_averages(tmp_path):
    class Press(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if trainer.global_step == 20:
                signal.raise_signal(signal.SIGINT)

    item = {"kind": "ffcore_std.averaging:GrowingAverage", "options": {"every": 3}}
    options = {**FEW, "trainer.max_epochs": 3, "trainer.callbacks": [item]}
    whole = ffcore.train("digits/ff", run_dir=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        ffcore.train("digits/ff", run_dir=tmp_path / "cut", callbacks=[Press()], **options)
    again = ffcore.resume(tmp_path / "cut")
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name]), name


def test_buffers_of_any_type_are_those_of_the_last_step(tmp_path):
    run = ffcore.train(
        "digits/blackbox-sign",
        run_dir=tmp_path / "run",
        callbacks=[GrowingAverage()],
        **{**FEW, "trainer.max_epochs": 1},
    )
    (stage,) = run.module.network.boxes
    assert stage.fits.dtype == torch.int64
    assert stage.settled.dtype == torch.bool


def test_a_contribution_keeps_what_it_observed_of_the_average(tmp_path):
    class Note(L.Callback):
        def on_validation_end(self, trainer, pl_module):
            self.observed = {k: v.clone() for k, v in pl_module.net.contribution.state_dict().items()}

    note = Note()
    options = {"trainer.threads": 1, "trainer.arrays": False, "report": False, "trainer.max_epochs": 1}
    run = ffcore.train(
        "digits/channel",
        run_dir=tmp_path / "run",
        callbacks=[GrowingAverage(), note],
        contribution="loss-weighted",
        **options,
    )
    assert note.observed
    for name, value in run.module.net.contribution.state_dict().items():
        assert torch.equal(value, note.observed[name])
    assert len(set(run.module.net.contribution.state_dict()["weights"].tolist())) > 1
