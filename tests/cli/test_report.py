"""``ffcore report``, without training anything."""

import json
import os
import subprocess
import sys

import pytest

from ffcore.cli.main import main
from ffcore.plugin import manager
from ffcore.run import directory
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.sweep import Sweep
from tests.report.conftest import as_task, write_run


@pytest.fixture
def run(tmp_path, bare):
    """A run with few results."""
    path = write_run(tmp_path / "run")
    for name in ("metrics.csv", "arrays.npz"):
        (path / name).unlink()
    return path


@pytest.fixture
def other(tmp_path):
    """A run of another recipe."""
    path = write_run(tmp_path / "other", without=("train_s", "paper"))
    results = path / "results.json"
    results.write_text(results.read_text().replace('"fake-ff"', '"fake-backprop"'))
    (path / "config.yaml").write_text("name: other\nschedule: greedy\n")
    return path


def test_report_is_written_again(run, capsys):
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.md'}\n{run / 'report.html'}\n"
    assert (run / "report.md").is_file()
    assert (run / "report.html").is_file()
    assert (run / "overview.png").is_file()


def test_a_comparison_is_printed_and_nothing_is_written(run, other, capsys):
    assert main(["report", str(run), str(other)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows if row and row[0].startswith("fake")] == ["fake-ff", "fake-backprop"]
    assert ["schedule", "–", "greedy"] in rows
    assert not (run / "report.md").exists()


def test_runs_of_one_recipe_have_unique_names(run, tmp_path, capsys):
    write_run(tmp_path / "twin")
    assert main(["report", str(run), str(tmp_path / "twin")]) == 0
    out = capsys.readouterr().out
    assert " run " in out
    assert " twin " in out
    assert "setting that differs" not in out


def test_comparison_is_written_to_out(run, other, tmp_path, capsys):
    words = ["report", str(run), str(other), "--out", str(tmp_path / "both")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"{tmp_path / 'both' / 'report.md'}\n{tmp_path / 'both' / 'report.html'}\n")
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


@pytest.mark.parametrize(
    ("options", "reason"), [(["--out", "somewhere"], "several runs"), (["--force"], "needs --out")]
)
def test_options_of_comparisons_raise_for_one_run(run, capsys, options, reason):
    assert main(["report", str(run), *options]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.endswith(". See ffcore report --help\n")  # a full stop before the hint
    assert not (run / "report.md").exists()


@pytest.mark.parametrize("before", [[], ["run"]])
def test_a_directory_without_a_run_raises(run, tmp_path, capsys, before):
    (tmp_path / "empty").mkdir()
    assert main(["report", *(str(tmp_path / name) for name in before), str(tmp_path / "empty")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "empty' is not a run directory" in output.err
    assert not list((tmp_path / "empty").iterdir())


@pytest.fixture
def several(run, other, tmp_path):
    """A sweep of two seeds; the second was interrupted, and the summary does not have the first."""
    folder = tmp_path / "several"
    folder.mkdir()
    runs = [SweepRun(f"seed-{seed}", (), (f"seed={seed}",), seed) for seed in (1, 2)]
    runs[1].status = 130
    (folder / "seed-2").mkdir()
    sweep = Sweep(folder, "digits/ff", runs, "ffcore run digits/ff --seeds 1,2")
    sweep.write()
    run.rename(folder / "seed-1")
    return folder


def test_the_summary_of_a_sweep_is_written_again(several, capsys):
    before = json.loads((several / "summary.json").read_text())
    assert [one["state"] for one in before["members"]] == ["not started", "interrupted"]
    assert main(["report", str(several)]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"summary   {several / 'summary.md'}\n")
    after = json.loads((several / "summary.json").read_text())
    assert [one["state"] for one in after["members"]] == ["done", "interrupted"]
    error = json.loads((several / "seed-1" / "results.json").read_text())["test"]["error"]
    assert after["groups"][0]["test_error"]["mean"] == pytest.approx(error)
    assert f"{error:.2f}" in out
    assert f"{error:.2f}" in (several / "summary.md").read_text()
    assert not (several / "report.md").exists()
    assert main(["report", str(several)]) == 0
    assert json.loads((several / "summary.json").read_text()) == after


def test_the_summary_is_not_changed_during_the_sweep(several, capsys):
    before = (several / "summary.json").read_bytes()
    with directory.locked(several):
        assert main(["report", str(several)]) == 2
    assert "another process" in capsys.readouterr().err
    assert (several / "summary.json").read_bytes() == before


def test_a_sweep_is_not_compared_with_a_run(several, other, capsys):
    assert main(["report", str(several), str(other)]) == 2
    assert "is the directory of a sweep: name a run directory in it" in capsys.readouterr().err


def test_sweeps_are_compared_by_their_means(several, tmp_path, capsys):
    other = tmp_path / "another"
    other.mkdir()
    runs = [SweepRun(f"seed-{seed}", (), (f"seed={seed}",), seed) for seed in (1, 2)]
    Sweep(other, "digits/backprop", runs).write()
    for one in runs:
        write_run(other / one.name)
    before = (several / "summary.json").read_bytes()
    assert main(["report", str(several), str(other)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "sweep runs test error (%) val. error (%)" in lines
    assert "digits/ff 1 4.92 5.00" in lines
    assert "digits/backprop 2 4.92 ± 0.00 5.00 ± 0.00" in lines
    assert "± is the sample standard deviation over seeds" in lines
    assert (several / "summary.json").read_bytes() == before
    as_task(other / "seed-1")
    as_task(other / "seed-2")
    assert main(["report", str(several), str(other)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "digits/ff 1 error (%) 4.92 5.00" in lines
    assert "digits/backprop 2 r2 0.9508 ± 0.0000 0.9500 ± 0.0000" in lines
    assert main(["report", str(several), str(other), "--out", str(tmp_path / "new")]) == 2


def test_a_damaged_summary_is_named(several, capsys):
    (several / "summary.json").write_text("{")
    assert main(["report", str(several)]) == 2
    assert "summary.json: not the summary of a sweep" in capsys.readouterr().err


def test_no_run_is_a_usage_error(bare, capsys):
    assert main(["report"]) == 2
    assert "RUN" in capsys.readouterr().err


def test_a_failed_section_is_reported(run, capsys, monkeypatch):
    def broken(record):
        raise RuntimeError("no ink")

    monkeypatch.setattr("ffcore.report.write.overview", broken)
    assert main(["report", str(run)]) == 0
    assert "overview failed: RuntimeError: no ink" in capsys.readouterr().err


@pytest.mark.thorough
def test_report_does_not_import_torch(tmp_path, bare):
    run = write_run(tmp_path / "run")
    (tmp_path / "several").mkdir()
    Sweep(tmp_path / "several", "digits/ff", [SweepRun("seed-1", (), ("seed=1",), 1)]).write()
    code = (
        "import sys; from ffcore.cli.main import main; "
        f"assert main(['report', {str(run)!r}]) == 0; "
        f"assert main(['report', {str(tmp_path / 'several')!r}]) == 0; "
        f"assert main(['report', {str(run)!r}, {str(run)!r}, '--out', {str(run.parent / 'out')!r}]) == 0; "
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {manager.DISABLE: "all"})
