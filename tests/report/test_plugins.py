"""Report sections registered by plugins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ffcore.plugin import manager
from ffcore.report import write_report
from tests.report.conftest import FakeRun, Only

GUIDE = Path(__file__).parents[2] / "docs" / "writing-plugins.md"

FAILING = """
from ffcore.plugin import hookimpl
from ffcore.report import Section

@hookimpl
def ffcore_register(registry):
    registry.report_section("dry", f"{__name__}:dry")
    registry.report_section("wet", f"{__name__}:wet")

def dry(run):
    raise RuntimeError("no ink")

def wet(run):
    return Section("Wet", f"of {run.get('recipe')}")
"""


def load(path: Path, code: str) -> None:
    path.write_text(code, encoding="utf-8")
    manager.use(manager.Plugins.load([str(path)]))


@pytest.fixture(autouse=True)
def alone(bare: None) -> None:
    """No installed plugin."""


def test_section_in_the_guide_is_in_both_files(fake_run: FakeRun, only: Only, tmp_path: Path) -> None:
    only("learning curves")
    codes = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    load(tmp_path / "my_section.py", next(code for code in codes if "report_section" in code))
    run = fake_run()
    metrics = (run / "metrics.csv").read_text().splitlines()
    lines = [
        f"{line},{rate}" for line, rate in zip(metrics, ["samples_per_s", *range(101, 106)], strict=True)
    ]
    (run / "metrics.csv").write_text("\n".join(lines) + "\n")
    messages: list[str] = []
    report = write_report(run, messages.append)
    assert messages == []
    assert "## Pace\n\n105 samples/s at the end.\n\n![Samples learned a second" in report.read_text()
    assert ">Pace</h2>" in report.with_suffix(".html").read_text()
    assert (run / "pictures" / "pace.png").is_file()


def test_failing_section_names_its_plugin_and_the_next_is_written(small_run: Path, tmp_path: Path) -> None:
    load(tmp_path / "inky.py", FAILING)
    messages: list[str] = []
    text = write_report(small_run, messages.append).read_text()
    line = FAILING[: FAILING.index("raise")].count("\n") + 1
    place = f"{tmp_path / 'inky.py'}:{line}"
    assert messages == [f"report section 'dry' of plugin 'inky' failed: RuntimeError: no ink ({place})"]
    assert "## Wet\n\nof fake-ff" in text
