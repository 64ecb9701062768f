"""The pages and pictures of docs/results: up to date, complete, with today's recipes in the tables."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.docs.pages import DOCS

RESULTS = DOCS / "results"


@pytest.fixture(scope="module")
def written() -> Iterator[ModuleType]:
    """The script that writes the pages; its modules are found in its folder."""
    before = set(sys.modules)
    sys.path.insert(0, str(RESULTS))
    import write  # type: ignore[import-not-found]

    yield write
    sys.path.remove(str(RESULTS))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(RESULTS)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def pages(written: ModuleType):
    return written.Pages()


def test_the_pages_of_results_are_up_to_date(pages) -> None:
    for name, text in pages.files():
        assert (RESULTS / name).read_text(encoding="utf-8") == text


def test_the_table_of_the_readme_is_up_to_date(written: ModuleType, pages) -> None:
    headlines = written.headlines
    text = headlines.README.read_text(encoding="utf-8")
    assert headlines.readme(pages.choice) == text
    assert all(f"| `{variant.split()[0]}` |" in text for variant in headlines.SHOWN)


def test_the_pictures_show_the_kept_curves(written: ModuleType, pages) -> None:
    pictures = written.pictures
    for data in pictures.DATA:
        path = pictures.path_of(data)
        assert pictures.digest(pictures.lines(pages.choice, data)) in path.read_text(encoding="utf-8")
        assert path.stat().st_size < 200_000


def test_a_picture_is_the_same_file_when_it_is_drawn_again(written: ModuleType, tmp_path) -> None:
    line = written.pictures.Line
    drawn = [
        line("Goodness", "ff", False, [(1.0, 9.0), (5.0, 2.0)]),
        line("Goodness", "backprop", True, [(2.0, 3.0)]),
        line("Local classifier", "predsim", False, [(3.0, 1.0)]),
    ]
    for name in ("a.svg", "b.svg"):
        written.pictures.draw(drawn, "MNIST", tmp_path / name)
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert all(word in text for word in ("predsim", "backprop", "MNIST: goodness"))


def test_labels_of_a_picture_do_not_overlap(written: ModuleType) -> None:
    placed = written.pictures.spread([0.5, 0.5, 0.52, 0.0, 0.9], 0.1)
    assert placed == pytest.approx([0.4067, 0.5067, 0.6067, 0.0, 0.9], abs=1e-3)
    crowded = written.pictures.spread([1.0] * 5, 0.25)
    assert crowded == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_every_stored_run_is_in_the_details(written: ModuleType, pages) -> None:
    text = (RESULTS / "details.md").read_text(encoding="utf-8")
    for group in pages.choice.all:
        for run in group.runs:
            assert f"ffcore {run['command'].removeprefix('ffcore ')}" in text


def test_the_tables_show_only_unchanged_runs_of_committed_code(pages) -> None:
    choice = pages.choice
    assert not any(group.changed or group.dirty for group in choice.shown)
    shown = {group.variant for group in choice.shown}
    assert not shown & {group.variant for group in choice.again}
    runs = [id(run) for part in (choice.shown, choice.again, choice.earlier) for g in part for run in g.runs]
    assert sorted(runs) == sorted(id(run) for group in choice.all for run in group.runs)


def kept(name: str = "digits-ff-1", **changes: object) -> dict[str, object]:
    run = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return run | changes


def chosen(written: ModuleType, *groups: list[dict[str, object]]):
    runs = [written.details.Runs(group) for group in groups]
    choice = written.Choice(runs)
    places = {id(run): i for i, group in enumerate(groups) for run in group}
    return [
        [sorted(places[id(run)] for run in group.runs) for group in part]
        for part in (choice.shown, choice.again, choice.earlier)
    ]


def test_a_run_of_uncommitted_code_is_shown_apart_and_only_if_there_is_no_other(written: ModuleType) -> None:
    dirty, clean = kept(git_commit="0123456-dirty"), kept()
    assert chosen(written, [dirty]) == [[], [[0]], []]
    assert chosen(written, [dirty], [clean]) == [[[1]], [], [[0]]]


def test_a_run_of_an_earlier_recipe_leaves_the_table(written: ModuleType) -> None:
    run = kept()
    before = kept(settings=run["settings"] | {"data.batch_size": "7"})
    assert chosen(written, [before]) == [[], [[0]], []]
    assert chosen(written, [before], [run]) == [[[1]], [], [[0]]]


def test_a_longer_run_replaces_one_with_a_part_of_the_epochs(written: ModuleType) -> None:
    part, whole, other = kept(epochs=5), kept(), kept(epochs=5, seed=2)
    assert chosen(written, [part], [whole]) == [[[1]], [], [[0]]]
    assert chosen(written, [other], [whole]) == [[[0], [1]], [], []]  # another seed


def test_seeds_that_ran_with_other_threads_are_one_row(written: ModuleType) -> None:
    one, two = kept(), kept("digits-ff-2", threads=2)
    assert chosen(written, [one], [two]) == [[[0, 1]], [], []]
    assert chosen(written, [one], [kept(threads=2)]) == [[[0], [1]], [], []]  # the same seed


def test_epochs_to_an_accuracy_lie_between_two_validations(written: ModuleType) -> None:
    runs = written.details.Runs
    every_fifth = {"recipe": "mnist/x", "curve": [[5, 50.0, 0.96], [10, 99.0, 0.971], [15, 150.0, 0.98]]}
    every = {"recipe": "mnist/x", "curve": [[1, 11.0, 0.9], [2, 22.0, 0.97]]}
    never = {"recipe": "mnist/x", "curve": [[5, 50.0, 0.96]]}
    assert runs([every_fifth]).reached() == (99.0, (6, 10))
    assert runs([every_fifth, every]).reached() == (22.0, (4, 6))
    assert runs([every, never]).reached() is None


def test_the_script_of_the_tables_needs_no_other_host() -> None:
    text = (DOCS / "_static/results.js").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w|import|fetch|XMLHttpRequest", text)
