"""``ffcore report``, without training anything."""

import os
import subprocess
import sys

import pytest

from ffcore.cli.main import main
from ffcore.plugin import manager
from tests.report.conftest import write_run


@pytest.fixture
def run(tmp_path, bare):
    return write_run(tmp_path / "run")


def test_report_is_made_again(run, capsys):
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.md'}\n"
    assert (run / "report.md").is_file()
    assert (run / "overview.png").is_file()


def test_several_runs_are_a_table(run, tmp_path, capsys):
    other = write_run(tmp_path / "other", without=("train_s", "paper"))
    assert main(["report", str(run), str(other)]) == 0
    out = capsys.readouterr().out
    assert out.count("fake-ff") == 2
    assert not (run / "report.md").exists()


@pytest.mark.parametrize("before", [[], ["run"]])
def test_folder_that_is_no_run_is_refused(run, tmp_path, capsys, before):
    (tmp_path / "empty").mkdir()
    assert main(["report", *(str(tmp_path / name) for name in before), str(tmp_path / "empty")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "empty' is not a run directory" in said.err
    assert not list((tmp_path / "empty").iterdir())


def test_no_run_is_misuse(bare, capsys):
    assert main(["report"]) == 2
    assert "RUN" in capsys.readouterr().err


def test_part_that_failed_is_told(run, capsys, monkeypatch):
    def broken(record):
        raise RuntimeError("no ink")

    monkeypatch.setattr("ffcore.report.write.overview", broken)
    assert main(["report", str(run)]) == 0
    assert "overview failed: RuntimeError: no ink" in capsys.readouterr().err


def test_report_does_not_import_torch(run):
    code = (
        "import sys; from ffcore.cli.main import main; "
        f"assert main(['report', {str(run)!r}]) == 0; "
        f"assert main(['report', {str(run)!r}, {str(run)!r}]) == 0; "
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {manager.DISABLE: "all"})
