"""The output of a run, in a pipe."""

import contextlib
import io
import json
import shlex
import shutil
from pathlib import Path

import pytest

from ffcore.cli.main import main
from ffcore.plugin import manager

PLUGIN = """
from ffcore.plugin import hookimpl

def section(run):
    raise RuntimeError("no ink")

@hookimpl
def ffcore_register(registry):
    registry.report_section("inky", f"{__name__}:section")
"""


def call(*words):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(words)
    manager.use(None)
    return code, out.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a plugin whose report section fails: its arguments, its directory, its output."""
    folder = tmp_path_factory.mktemp("a run")
    (folder / "inky.py").write_text(PLUGIN)
    words = ["--plugin", str(folder / "inky.py"), "run", "digits/ff", "trainer.max_epochs=2"]
    words += ["trainer.threads=1", "--run-dir", str(folder / "run")]
    code, out = call(*words)
    assert code == 0
    return words, folder / "run", out


def test_it_prints_epochs_then_results(run):
    _, folder, out = run
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].startswith("digits/ff: epoch 1/2, validation ")
    assert lines[1].startswith("digits/ff: epoch 2/2, validation ")
    assert "digits/ff: Forward-Forward on scikit-learn's digits, in seconds" in lines
    assert any(line.split()[:2] == ["test", "error"] for line in lines)
    assert lines[-2:] == [f"report    {folder / 'report.md'}", f"picture   {folder / 'overview.png'}"]
    assert "\x1b" not in out
    assert all(Path(line.split(maxsplit=1)[1]).is_file() for line in lines[-2:])


def test_it_prints_the_failed_section_of_the_report(run):
    assert "failed: RuntimeError: no ink" in run[2]


def test_the_command_can_be_copied(run):
    words, folder, _ = run
    command = json.loads((folder / "results.json").read_text())["command"]
    assert shlex.split(command) == ["ffcore", *words]


def test_a_repeated_command_resumes_its_run_and_leaves_a_finished_one(run, tmp_path, capsys):
    words, finished, _ = run
    code, out = call(*words, "--auto-resume")
    assert code == 0
    assert out.endswith("the run was finished already\n")
    code, _ = call(*words, "seed=2", "--auto-resume")
    assert code == 2
    assert "a run of another recipe: its seed is 1, not 2" in capsys.readouterr().err
    again = tmp_path / "again"
    shutil.copytree(finished, again)
    (again / "results.json").unlink()
    here = [*words[:-1], str(again), "trainer.compare_every=7", "--auto-resume", "--no-report"]
    assert call(*here)[0] == 0
    results = [json.loads((folder / "results.json").read_text())["test"] for folder in (finished, again)]
    assert results[0] == results[1]
    new = ["run", "digits/ff", "trainer.max_epochs=1", "trainer.threads=1", "--no-report", "--auto-resume"]
    assert call(*new, "--run-dir", str(tmp_path / "new"))[0] == 0


@pytest.mark.parametrize("more", [(), ("--run-dir", "x", "--seeds", "1,2"), ("--resume", "x")])
def test_only_one_run_in_a_named_directory_is_resumed_by_itself(more):
    assert call("run", "digits/ff", "--auto-resume", *more)[0] == 2


def test_eval_prints_the_accuracy_of_the_run(run):
    results = json.loads((run[1] / "results.json").read_text())
    code, out = call("eval", str(run[1]))
    assert code == 0
    assert f"error {results['test']['error']:.2f} %" in out
    code, out = call("eval", str(run[1]), "--split", "val", "--json")
    assert json.loads(out)["per_block_accuracy"] == results["val"]["per_block_accuracy"]


def test_without_arguments_help_is_printed():
    assert call() == call("--help")
