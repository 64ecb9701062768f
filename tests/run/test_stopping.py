"""Ctrl-C ends a run between two batches; so does a non-finite loss."""

import json
import signal
import time

import pytest
import torch

import ffcore
from ffcore.cli.main import main
from ffcore.engine.history import History


@pytest.fixture
def press(monkeypatch):
    """Send Ctrl-C or another signal ``times`` times after step 5."""

    def _press(times, what=signal.SIGINT):
        count = History.on_train_batch_end

        def on_train_batch_end(self, trainer, *args):
            count(self, trainer, *args)
            if trainer.global_step == 5:
                for _ in range(times):
                    signal.raise_signal(what)

        monkeypatch.setattr(History, "on_train_batch_end", on_train_batch_end)

    return _press


def run(folder, *overrides):
    return main(["run", "digits/ff", "trainer.threads=1", *overrides, "--run-dir", str(folder)])


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_the_step_is_finished_and_saved(press, tmp_path, capsys, what):
    if signal.getsignal(what) is signal.SIG_IGN:
        pytest.skip("this process ignores the signal, as under nohup")
    press(1, what)
    folder = tmp_path / "run"
    assert run(folder) == 130
    resume_hint = f"resume it with `ffcore run --resume {folder}`"
    err = capsys.readouterr().err.strip()
    assert err == f"interrupted: {folder} has a checkpoint of step 5; {resume_hint}"
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 5
    assert not (folder / "results.json").exists()
    assert main(["eval", str(folder)]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("the run is not finished: its checkpoint is that of epoch ")
    assert line.endswith(f"; {resume_hint}")
    assert main(["eval", str(folder), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    assert line in err
    assert main(["report", str(folder)]) == 2
    assert f"it has no results.json; {resume_hint}" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_at_once(press, tmp_path, capsys):
    press(2)
    folder = tmp_path / "run"
    assert run(folder) == 130
    resume_hint = f"resume it with `ffcore run --resume {folder}`"
    assert capsys.readouterr().err.strip() == f"interrupted: {folder} is not finished; {resume_hint}"


def test_ctrl_c_during_the_test_prints_how_to_resume(tmp_path, capsys, monkeypatch):
    def measure(*args):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("ffcore.engine.module.ForwardOnly.test_step", measure)
    folder = tmp_path / "run"
    assert run(folder, "trainer.max_epochs=1") == 130
    assert (
        f"{folder} is not finished; resume it with `ffcore run --resume {folder}`" in capsys.readouterr().err
    )
    monkeypatch.undo()
    monkeypatch.setattr("ffcore.run.train.write_report", lambda *args: None)
    assert main(["run", "--resume", str(folder)]) == 0


def test_ctrl_c_in_the_first_epoch_needs_no_validation(press, tmp_path, capsys):
    press(1)
    early = "trainer.callbacks=[{kind: EarlyStopping, options: {monitor: val_accuracy}}]"
    assert run(tmp_path / "run", early, "trainer.loggers=[csv]") == 130
    assert capsys.readouterr().err.strip().startswith("interrupted: ")
    assert not list((tmp_path / "run").rglob("metrics.csv"))  # no row for an unfinished epoch


def test_a_run_that_diverges_raises(tmp_path, capsys):
    words = ["run", "digits/ff", "trainer.threads=1", "optimizer.lr=1e30", "--run-dir", str(tmp_path / "run")]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: diverged: the loss of block dense1 is non-finite at step 2, in epoch 1; ")
    assert err.count("\n") == 1
    assert not list((tmp_path / "run").glob("checkpoints/*"))  # no checkpoint of diverged weights


def test_non_finite_weights_after_the_last_step_raise(tmp_path, capsys):
    settings = [
        "optimizer={kind: sgd, lr: 1e30, weight_decay: 1e30}",
        "data.batch_size=2000",
        "trainer.max_epochs=1",
    ]
    words = ["run", "digits/ff", "trainer.threads=1", *settings, "--run-dir", str(tmp_path / "run")]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: diverged: weights of block dense1 are non-finite in epoch 1; try a smaller")
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.mark.parametrize("times", [1, 2])
def test_the_signal_handler_of_python_is_restored(press, quick, times):
    press(times)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quick()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGHUP])
def test_an_ignored_signal_stays_ignored(press, quick, what):
    press(1, what)
    before = signal.signal(what, signal.SIG_IGN)
    try:
        assert quick().results["epochs"] == 2
    finally:
        signal.signal(what, before)


def test_ctrl_c_does_not_wait_for_a_black_box_that_hangs(tmp_path, capsys):
    calls = []

    def hang(x):
        calls.append(len(x))
        if len(calls) == 60:  # in the third epoch
            signal.raise_signal(signal.SIGINT)
            time.sleep(30)
        return x.sign()

    folder, began = tmp_path / "run", time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ffcore.train(
            "digits/blackbox-sign",
            run_dir=folder,
            report=False,
            **{"network.1.box": hang, "data.batch_size": 100, "trainer.threads": 1},
        )
    assert time.monotonic() - began < 25
    assert (folder / "checkpoints/last.ckpt").exists()


def test_a_box_that_answers_soon_after_ctrl_c_lets_the_step_end(tmp_path):
    calls = []

    def slow(x):
        calls.append(len(x))
        if len(calls) == 60:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.2)
        return x.sign()

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt, match="has a checkpoint of step"):
        ffcore.train(
            "digits/blackbox-sign",
            run_dir=folder,
            report=False,
            **{"network.1.box": slow, "data.batch_size": 100, "trainer.threads": 1},
        )
    time.sleep(1.2)  # the second Ctrl-C does not come
