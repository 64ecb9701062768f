"""Errors in code of plugin authors: one line with the component, its place and the author's line."""

import re
import subprocess
import sys

import pytest

from ffcore.cli.main import main
from ffcore.plugin import manager

PLUGIN = '''
import sys
from torch import nn
from ffcore.interfaces import Goodness, Objective, Penalty
from ffcore.plugin import hookimpl


class Body(nn.Linear):
    """Fails in call number ``at``.

    Args:
        at: the call.
        how: what it does.
    """

    def __init__(self, at: int = 1, how: str = "raise") -> None:
        if at == 0:
            fail(how)
        super().__init__(64, 9)
        self.calls, self.at, self.how = 0, at, how

    def forward(self, x):
        self.calls += 1
        y = super().forward(x.flatten(1))
        if self.calls < self.at:
            return y
        return {"narrow": lambda: y[:, :4], "fewer": lambda: y[1:]}.get(self.how, lambda: fail(self.how))()


def fail(how):
    if how == "raise":
        {}["k"]
    if how == "exit":
        sys.exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "close":
        raise GeneratorExit


@hookimpl
def ffcore_register(registry):
    registry.body("failing", "ffcore_plugin_file_mine:Body")
'''
RAISED = {
    "raise": "KeyError: 'k'",
    "exit": "SystemExit: 0",
    "interrupt": "KeyboardInterrupt",
    "close": "GeneratorExit",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(PLUGIN)

    def run(item, *more):
        words = ["run", "digits/ff", "trainer.max_epochs=1", "trainer.threads=1", f"network=[{item}]", *more]
        code = main(["--plugin", "mine.py", *words])
        err = capsys.readouterr().err
        assert err.count("\n") == 1, err
        assert "bug?" not in err
        return code, err, sorted(path.name for path in tmp_path.glob("*") if path.name != "mine.py")

    yield run
    manager.use(None)


@pytest.mark.parametrize("how", RAISED)
def test_an_exception_in_a_constructor_is_refused_before_anything_is_written(run, how):
    code, err, written = run(f"{{kind: failing, at: 0, how: {how}}}")
    assert (code, written) == (2, [])
    assert RAISED[how] in err
    assert re.search(r"mine\.py:\d+\)$", err.strip())


@pytest.mark.parametrize("how", RAISED)
def test_an_exception_in_the_dry_run_is_refused_before_anything_is_written(run, how):
    code, err, written = run(f"{{kind: failing, how: {how}}}")
    assert (code, written) == (2, [])
    assert err.startswith(
        "error: network.0: body 'failing' of plugin 'mine': its forward raised " + RAISED[how]
    )


@pytest.mark.parametrize("how", RAISED)
def test_an_exception_in_training_names_the_component_the_block_and_the_line(run, how):
    code, err, written = run(f"{{kind: failing, at: 6, how: {how}}}, {{kind: dense, units: 5}}")
    assert (code, written) == (1, ["runs"])
    expected = (
        f"network.0: body 'failing' of plugin 'mine', block failing1: its forward raised {RAISED[how]} ("
    )
    assert err.startswith(f"error: {expected}")
    assert err.strip().endswith(")")


def test_debug_shows_the_traceback_of_the_author(run, tmp_path):
    with pytest.raises(KeyError, match="k"):
        main(["--debug", "--plugin", "mine.py", "run", "digits/ff", "network=[{kind: failing}]"])


EXITS = """
import os

import lightning
import torch
from torch import nn


class Leaves(nn.Linear):
    def __init__(self) -> None:
        super().__init__(64, 9)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 5:
            os._exit(0)
        return super().forward(x.flatten(1))


class Stops(lightning.Callback):
    def __init__(self, hook):
        setattr(self, hook, self.stop)

    def stop(self, *of):
        raise StopIteration
"""


@pytest.mark.thorough
def test_an_exit_of_the_process_is_an_error_of_a_run_and_of_a_sweep(tmp_path):
    (tmp_path / "leaving.py").write_text(EXITS)
    command = [sys.executable, "-m", "ffcore", "run", "digits/ff", "--seeds", "1", "--run-dir", "one"]
    command += ["trainer.max_epochs=1", "trainer.threads=1", "network=[{kind: 'leaving:Leaves'}]"]
    sweep = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert sweep.returncode == 1
    assert sweep.stdout.count("failed: error: forward called os._exit(0)") == 1
    run = (tmp_path / "one/seed-1.log").read_text()
    assert re.search(r"^error: forward called os\._exit\(0\) \(.*leaving\.py:\d+\)$", run, re.MULTILINE)


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_train_batch_end", "on_validation_end"])
def test_a_stop_iteration_of_a_callback_does_not_end_a_run_as_finished(hook, tmp_path, monkeypatch, capsys):
    (tmp_path / f"stops_{hook}.py").write_text(EXITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    callback = f"{{kind: 'stops_{hook}:Stops', options: {{hook: {hook}}}}}"
    words = [
        "trainer.max_epochs=2",
        "trainer.threads=1",
        "network.0.units=9",
        f"trainer.callbacks=[{callback}]",
    ]
    assert main(["run", "digits/ff", *words]) == 1
    assert "a callback has raised StopIteration" in capsys.readouterr().err


@pytest.mark.parametrize("raised", ["click.exceptions.Exit(0)", "click.Abort()"])
def test_what_click_would_take_for_the_end_of_a_command_is_an_error(raised, tmp_path, monkeypatch, capsys):
    name = f"clicks_{len(raised)}"
    (tmp_path / f"{name}.py").write_text(
        "import click\nfrom ffcore.interfaces import LayerContribution\nclass Own(LayerContribution):\n"
        f"    def setup(self, context): raise {raised}\n    def combine(self, scores): return scores.sum(0)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["run", "digits/ff", f"contribution={name}:Own"]) == 2
    assert "its setup raised" in capsys.readouterr().err
