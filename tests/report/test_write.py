from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ffcore.errors import UserError
from ffcore.plugin.manager import Plugins
from ffcore.plugin.registry import Entry
from ffcore.report import Picture, RunRecord, Section, write, write_report
from ffcore.report.style import label, new_figure
from ffcore.report.text import plain
from tests.report.conftest import CLOTHES, FakeRun, Only


def pictures(run: Path) -> set[str]:
    return {file.stem for file in (run / "pictures").iterdir()}


def add_section(plugins: Plugins, target: object) -> None:
    plugins.registry.add(Entry("report_section", "mine", target, "someone"))


def test_report_shows_every_picture_it_writes(written: Path) -> None:
    text = (written / "report.md").read_text()
    assert pictures(written) == {
        "curves",
        "blocks",
        "goodness",
        "separation",
        "confusion",
        "receptive",
        "misclassified",
    }
    assert all(f"(pictures/{name}.png)" in text for name in pictures(written))
    assert (written / "overview.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["report.md", "overview.png"])
def test_report_is_the_same_when_written_again(written: Path, again: Path, name: str) -> None:
    assert (again / name).read_bytes() == (written / name).read_bytes()
    assert (again / name).stat().st_mtime_ns > (written / name).stat().st_mtime_ns


def test_nothing_temporary_is_left_behind(written: Path) -> None:
    assert not [path for path in written.rglob("*") if path.suffix == ".tmp"]
    if os.name == "posix":
        assert (written / "report.md").stat().st_mode & 0o044, "others may read it"


@pytest.mark.usefixtures("drawn_once")
def test_run_without_goodness_has_no_goodness_section(fake_run: FakeRun) -> None:
    run = fake_run(goodness=False)
    assert "## Goodness" not in write_report(run).read_text()
    assert {"goodness", "separation", "blocks"}.isdisjoint(pictures(run))


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("threshold", [None, float("nan"), float("inf")])
def test_objective_without_a_threshold_has_histograms(
    fake_run: FakeRun, only: Only, threshold: float | None
) -> None:
    only("summary", "goodness")
    run = fake_run(threshold=threshold)
    messages: list[str] = []
    text = write_report(run, messages.append).read_text()
    assert messages == []
    assert "goodness" in pictures(run)
    assert "θ" not in text


@pytest.mark.parametrize("value", [0.0, 1e9, -3.0])
def test_constant_goodness_can_be_drawn(fake_run: FakeRun, only: Only, value: float) -> None:
    only("goodness")
    run = fake_run()
    sides = ("positive", "negative")
    np.savez(run / "arrays.npz", **{f"goodness/dense1/{side}": np.full(9, value) for side in sides})
    messages: list[str] = []
    write_report(run, messages.append)
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("blocks", [1, pytest.param(5, marks=pytest.mark.thorough), 20])
def test_any_depth_can_be_drawn(fake_run: FakeRun, blocks: int) -> None:
    messages: list[str] = []
    write_report(fake_run(blocks=blocks), messages.append)
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("epochs", [0, 1])
def test_any_number_of_epochs_can_be_drawn(fake_run: FakeRun, epochs: int) -> None:
    messages: list[str] = []
    write_report(fake_run(epochs=epochs), messages.append)
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
def test_colour_images_and_long_class_names(fake_run: FakeRun) -> None:
    messages: list[str] = []
    write_report(fake_run(shape=(3, 5, 5), classes=CLOTHES), messages.append)
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
def test_missing_keys_are_left_out(fake_run: FakeRun) -> None:
    keys = ("paper", "data", "test", "val", "blocks", "sources", "split", "versions", "command", "wall_s")
    messages: list[str] = []
    text = write_report(fake_run(without=keys), messages.append).read_text()
    assert "None" not in text
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
def test_keys_may_be_null(fake_run: FakeRun) -> None:
    run = fake_run()
    results = json.loads((run / "results.json").read_text())
    results["test"]["per_block_accuracy"]["dense1"] = None
    nothing = dict.fromkeys(results) | {"test": results["test"], "paper": {"test_error": None}}
    (run / "results.json").write_text(json.dumps(nothing))
    messages: list[str] = []
    assert "None" not in write_report(run, messages.append).read_text()
    assert messages == []


def test_missing_files_are_left_out(fake_run: FakeRun) -> None:
    run = fake_run()
    (run / "metrics.csv").unlink()
    (run / "arrays.npz").unlink()
    write_report(run)
    assert pictures(run) == {"blocks", "confusion"}


def test_run_with_few_results_has_a_report(fake_run: FakeRun) -> None:
    run = fake_run()
    (run / "metrics.csv").unlink()
    (run / "arrays.npz").unlink()
    (run / "results.json").write_text("{}")
    messages: list[str] = []
    assert write_report(run, messages.append).read_text().startswith("# run")
    assert messages == []


@pytest.mark.usefixtures("drawn_once")
def test_run_that_diverged_can_be_drawn(fake_run: FakeRun) -> None:
    run = fake_run()
    metrics = run / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("0.5", "nan"))
    messages: list[str] = []
    write_report(run, messages.append)
    assert messages == []


def test_section_of_a_plugin_is_added(small_run: Path, no_plugins: Plugins) -> None:
    def mine(run: RunRecord) -> Section:
        return Section("Mine", run.get("recipe"), [Picture("own", new_figure(1, 1), "a caption")])

    add_section(no_plugins, mine)
    text = write_report(small_run).read_text()
    assert "## Mine\n\nfake-ff\n\n![a caption](pictures/own.png)" in text


def test_plugin_section_may_be_none(small_run: Path, no_plugins: Plugins) -> None:
    add_section(no_plugins, lambda run: None)
    messages: list[str] = []
    write_report(small_run, messages.append)
    assert messages == []


def broken(run: RunRecord) -> Section:
    raise KeyError("nothing\nhere")


LINE = f"{__file__}:{broken.__code__.co_firstlineno + 1}"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (broken, "KeyError"),
        (lambda run: "text", "TypeError: a section should be"),
        (
            lambda run: Section("A", "", [Picture("curves", new_figure(1, 1), "")]),
            "two pictures have the name 'curves'",
        ),
        ("no_such_module:section", "cannot be loaded"),
    ],
)
@pytest.mark.usefixtures("drawn_once")
def test_failing_plugin_section_gives_one_line_and_the_others_are_written(
    fake_run: FakeRun, only: Only, no_plugins: Plugins, target: object, reason: str
) -> None:
    only("learning curves")
    add_section(no_plugins, target)
    messages: list[str] = []
    text = write_report(fake_run(), messages.append).read_text()
    assert len(messages) == 1
    assert reason in messages[0]
    assert "\n" not in messages[0]
    assert "report section 'mine' of plugin 'someone' failed" in text
    assert "(pictures/curves.png)" in text


@pytest.mark.usefixtures("drawn_once")
def test_failing_built_in_section_gives_one_line_and_the_others_are_written(
    fake_run: FakeRun, only: Only, monkeypatch: pytest.MonkeyPatch
) -> None:
    only("goodness", "confusion")
    monkeypatch.setitem(write.SECTIONS, "goodness", broken)
    run = fake_run()
    messages: list[str] = []
    text = write_report(run, messages.append).read_text()
    assert messages == [f"report section 'goodness' failed: KeyError: 'nothing\\nhere' ({LINE})"]
    assert f"*{messages[0]}*" in text
    assert "## Confusion" in text
    assert "confusion" in pictures(run)


def test_failing_overview_is_reported_and_an_old_one_is_not_shown(
    written: Path, tmp_path: Path, only: Only, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(written, run)
    only("summary")
    monkeypatch.setattr(write, "overview", broken)
    messages: list[str] = []
    text = write_report(run, messages.append).read_text()
    assert messages == [f"overview failed: KeyError: 'nothing\\nhere' ({LINE})"]
    assert messages[0] in text
    assert "overview.png" not in text
    assert not (run / "overview.png").exists()
    assert "## Summary" in text


@pytest.mark.parametrize("name", ["../up", "a b", ""])
def test_picture_name_must_be_a_valid_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid picture name"):
        Picture(name, new_figure(1, 1), "")


def test_directory_without_a_run_raises(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_importing_the_report_imports_neither_torch_nor_matplotlib() -> None:
    code = "import sys, ffcore.report; print({'torch', 'lightning', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


STRANGE = {
    "long": ["x" * 200 + str(k) for k in range(4)],
    "not in the font": ["猫", "犬", "日本語の名前", "🦊"],
    "markup": ["[/b]", "$x$", "*a*", "_b_|c"],
    "control characters": ["a\nb", "\x1b[31m", "\u202ex", "<b>"],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", STRANGE.values(), ids=STRANGE)
def test_names_of_any_characters_are_drawn_and_written(
    fake_run: FakeRun, drawn_once: None, names: list[str]
) -> None:
    run = fake_run(classes=names)
    results = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps(results | {"title": names[0], "recipe": names[2]}))
    messages: list[str] = []
    text = write_report(run, messages.append).read_text()
    assert messages == []
    assert "\x1b" not in text
    assert "\u202e" not in text
    page = (run / "report.html").read_text()
    for name in names:
        shown = plain(name)
        assert html.escape(shown) in page  # as it is, not as markup


def test_labels_of_pictures_are_short_and_known_to_the_font() -> None:
    assert label("x" * 100, 11) == "xxxxx…xxxxx"
    assert label("\U0010fffd", instead="3") == "3"
    assert label("a\nb") == "a b"
