"""The representations of a finished run, and its optional report."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ffcore
from ffcore.cli.main import main
from ffcore.errors import TimeUpError
from ffcore.plugin import manager
from ffcore.recipe.load import load
from ffcore.run.results import Results
from ffcore.run.train import train

REPORT = {"report.md", "report.html", "overview.png", "pictures"}
REST = {"config.yaml", "results.json", "metrics.csv", "arrays.npz", "checkpoints"}
ROOT = Path(__file__).parents[2]
SMALL = ["trainer.max_epochs=1", "trainer.threads=1", "network.0.units=32"]


def names(folder):
    return {path.name for path in folder.iterdir()}


class Cells(HTMLParser):
    """Tags and text of a table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_it_shows_its_results_and_its_directory(finished):
    results = finished.results
    text, html = repr(finished), Cells(finished._repr_html_())
    shown = [
        "digits/ff, seed 1",
        f"{100 * results.test.accuracy:.2f} %",
        f"{100 * results.val.accuracy:.2f} %",
        *(f"test accuracy of {name}" for name in results.test.per_block_accuracy),
        str(finished.path),
    ]
    for part in shown:
        assert part in text
        assert part in html.texts
    assert any("of training" in part for part in html.texts)
    assert html.tags == {"table", "tbody", "tr", "th", "td"}
    assert max(map(len, text.splitlines())) < 60 + len(str(finished.path))


def test_names_are_escaped_in_html(finished):
    name = "<script>alert(1)</script>&"
    content = dict(finished.results) | {"recipe": name, "val": None}
    content["test"] = dict(content["test"]) | {"per_block_accuracy": {name: 0.5, "b": 0.6}}
    run = dataclasses.replace(finished, path=Path("<b>"), results=Results(content))
    html = run._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html
    assert f"test accuracy of {name}" in Cells(html).texts
    assert "validation" not in html


def test_without_a_report_all_other_files_are_written_and_the_report_can_follow(tmp_path, capsys):
    folder = tmp_path / "run"
    run = ffcore.train(load("digits/ff", SMALL), run_dir=folder, report=False)
    assert names(folder) == REST
    assert main(["report", str(folder)]) == 0
    assert names(folder) == REST | REPORT
    assert "## Goodness" in (folder / "report.md").read_text()
    assert Results.read(folder) == run.results
    manager.use(None)


@pytest.mark.thorough
@pytest.mark.parametrize("report", [True, False])
def test_a_resumed_run_writes_its_report_on_request(tmp_path, report):
    with pytest.raises(TimeUpError):
        train(load("digits/ff", SMALL), tmp_path / "run", max_time=1e-3, report=not report)
    ffcore.resume(tmp_path / "run", report=report)
    assert names(tmp_path / "run") == REST | (REPORT if report else set())


def test_the_command_line_leaves_the_report_out_and_prints_how_to_write_it(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["run", "digits/ff", *SMALL, "--no-report", "--run-dir", str(folder)]) == 0
    out = capsys.readouterr().out
    assert names(folder) == REST
    assert f"directory {folder}\n" in out
    assert f"`ffcore report {folder}`" in out
    assert "report.html" not in out
    manager.use(None)


@pytest.mark.parametrize("page", ["README.md", "docs/running.md"])
def test_the_examples_in_the_docs_on_results_and_predictors_run(page, tmp_path, monkeypatch):
    pytest.importorskip("sklearn.frozen")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ffcore.run.train.write_report", lambda *args: None)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    names = {}
    for block in blocks:
        if "predictor" in block:
            exec(block, names)
    assert (names["run"].predictor().predict(names["x"]) == names["y"]).mean() > 0.8
