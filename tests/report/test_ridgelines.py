from __future__ import annotations

import numpy as np
import pytest

from ffcore.report import RunRecord, write_report
from ffcore.report.goodness import goodness
from ffcore.report.ridgelines import MOST_EPOCHS, ROOM, Ridges, draw_ridges
from ffcore.report.style import new_figure
from tests.report.conftest import FakeRun, Only, add_history


def names(run: RunRecord) -> list[str]:
    section = goodness(run)
    assert section is not None
    return [picture.name for picture in section.pictures]


def change(run, **arrays) -> RunRecord:
    with np.load(run / "arrays.npz") as kept:
        np.savez(run / "arrays.npz", **{**kept, **{k.replace("__", "/"): v for k, v in arrays.items()}})
    return RunRecord.read(run)


def test_histograms_over_epochs_come_before_those_of_the_end(fake_run: FakeRun, only: Only) -> None:
    only("goodness")
    run = fake_run()
    assert names(RunRecord.read(run)) == ["goodness", "separation"]
    add_history(run)
    assert names(RunRecord.read(run)) == ["goodness-epochs", "goodness", "separation"]
    messages: list[str] = []
    assert "(pictures/goodness-epochs.png)" in write_report(run, messages.append).read_text()
    assert messages == []


def test_one_epoch_has_no_picture_over_epochs(fake_run: FakeRun) -> None:
    run = fake_run()
    add_history(run, epochs=1)
    assert names(RunRecord.read(run)) == ["goodness", "separation"]


@pytest.mark.parametrize("epochs", [2, 8, 9, 10, 60, 1000])
def test_first_and_last_epoch_are_shown_and_none_twice(epochs: int) -> None:
    some = np.ones((epochs, 4))
    shown = Ridges(np.arange(epochs), np.ones((epochs, 5)), some, some, 0.0).shown()
    assert shown[0] == 0
    assert shown[-1] == epochs - 1
    assert shown == sorted(set(shown))
    assert len(shown) == min(epochs, MOST_EPOCHS)


def test_rows_are_densities_independent_of_bin_width(fake_run: FakeRun) -> None:
    edges = np.array([[0.0, 1.0, 4.0]] * 2)
    counts = np.array([[10, 30]] * 2)
    ridges = Ridges(np.array([1, 2]), edges, counts, counts[:, ::-1] / 2, np.nan)
    positive, negative = ridges.densities(0)
    assert positive[0] == pytest.approx(positive[1])  # thrice the samples on thrice the width
    assert negative.max() == 1


def test_rows_do_not_overlap_and_the_first_epoch_is_on_top(fake_run: FakeRun) -> None:
    run = fake_run()
    add_history(run, epochs=3)
    ridges = Ridges.of(RunRecord.read(run), "dense1")
    assert ridges is not None
    ax = new_figure(3, 3).add_subplot()
    draw_ridges(ax, ridges, named=True)
    labels = {
        label.get_text(): tick for label, tick in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)
    }
    assert labels == {"1": 2.0, "2": 1.0, "3": 0.0}
    tops = [max(patch.get_data().values) for patch in ax.patches]
    assert max(tops) == pytest.approx(2 + ROOM)
    assert min(tops) <= ROOM


def test_the_threshold_is_that_of_the_run(fake_run: FakeRun) -> None:
    run = fake_run()
    add_history(run, epochs=3)
    ridges = Ridges.of(RunRecord.read(run), "dense1")
    assert ridges is not None
    assert ridges.threshold == 10


def test_outliers_do_not_set_the_scale() -> None:
    counts = np.array([[1, 0, 0, 5000, 5000, 0, 0, 1]] * 2)
    ridges = Ridges(np.array([1, 2]), np.array([np.arange(9.0)] * 2), counts, counts, np.nan)
    assert ridges.limits() == (3, 5)


def test_epochs_without_samples_are_left_out(fake_run: FakeRun) -> None:
    run = fake_run()
    add_history(run, epochs=4)
    with np.load(run / "arrays.npz") as kept:
        counts, edges = kept["history/dense1/positive"], kept["history/dense1/edges"]
    counts[0] = 0
    edges[1] = np.nan
    record = change(run, history__dense1__positive=counts, history__dense1__edges=edges)
    ridges = Ridges.of(record, "dense1")
    assert ridges is not None
    assert ridges.epochs.tolist() == [3, 4]


def test_arrays_that_do_not_fit_are_reported(fake_run: FakeRun, only: Only) -> None:
    only("goodness")
    run = fake_run()
    add_history(run, epochs=4)
    change(run, history__dense1__edges=np.zeros((4, 3)))
    messages: list[str] = []
    write_report(run, messages.append)
    assert len(messages) == 1
    assert "history/dense1: shapes" in messages[0]
