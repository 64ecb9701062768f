from __future__ import annotations

import json

import numpy as np
import pytest

from ffcore.report import RunRecord
from ffcore.report.confusion import confusion
from ffcore.report.evidence import evidence
from ffcore.report.goodness import auc, grid_of
from ffcore.report.images import likeness, misclassified, receptive_fields
from ffcore.report.overview import WIDTH, fit_title, overview
from ffcore.report.style import fit_scale, new_figure, paper_style, spread
from ffcore.report.summary import summary
from tests.report.conftest import FakeRun


def test_auc_is_the_probability_that_a_positive_is_larger() -> None:
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 9, 50), rng.integers(0, 8, 70)
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert auc(positive, negative) == pytest.approx(pairs.mean())


@pytest.mark.parametrize(("panels", "grid"), [(1, (1, 1)), (4, (4, 1)), (5, (3, 2)), (8, (4, 2))])
def test_grid_has_one_row_up_to_four(panels: int, grid: tuple[int, int]) -> None:
    assert grid_of(panels) == grid


def test_spread_keeps_the_first_and_the_last() -> None:
    assert spread(list("abcdefg"), 3) == ["a", "d", "g"]
    assert spread(["a"], 3) == ["a"]


@pytest.mark.parametrize(("values", "scale"), [([1, 90], "log"), ([1, 2], "linear"), ([0, 90], "linear")])
def test_scale_is_logarithmic_for_a_large_range(values: list[float], scale: str) -> None:
    ax = new_figure(1, 1).add_subplot()
    fit_scale(ax, values)
    assert ax.get_yscale() == scale


def test_weights_other_than_images_are_skipped(fake_run: FakeRun) -> None:
    run = fake_run()
    np.savez(run / "arrays.npz", **{"receptive/dense1": np.ones((8, 64))})
    assert receptive_fields(RunRecord.read(run)) is None


def test_correct_examples_are_not_shown(fake_run: FakeRun) -> None:
    run = fake_run()
    x = np.zeros((2, 1, 4, 4))
    np.savez(run / "arrays.npz", **{"examples/x": x, "examples/y": [0, 1], "examples/predicted": [0, 1]})
    section = misclassified(RunRecord.read(run))
    assert section is not None
    assert section.pictures == []


def test_most_frequent_mistakes_are_listed(fake_run: FakeRun) -> None:
    run = fake_run(without=("data",))
    results = json.loads((run / "results.json").read_text())
    results["test"]["confusion"] = [[9, 0, 1], [7, 9, 0], [0, 0, 9]]
    (run / "results.json").write_text(json.dumps(results))
    section = confusion(RunRecord.read(run))
    assert section is not None
    first_line, _, table = section.body.partition("\n\n")
    assert first_line == "Most frequent: 1 predicted as 0 (7×), 0 predicted as 2 (1×)."
    assert [row.split("|")[1:3] for row in table.splitlines()[2:]] == [
        [" 1 ", " 56.25 % "],
        [" 0 ", " 90.00 % "],
        [" 2 ", " 100.00 % "],
    ]


def test_single_source_has_no_section(fake_run: FakeRun) -> None:
    assert evidence(RunRecord.read(fake_run(blocks=1))) is None


def test_summary_has_the_result_of_the_paper_and_its_source(fake_run: FakeRun) -> None:
    body = summary(RunRecord.read(fake_run())).body
    assert "| 1.36 % |" in body
    assert "read from the text" in body
    assert "$ ffcore run fake/ff seed=3" in body


def test_summary_has_training_time_and_total_time(fake_run: FakeRun) -> None:
    body = summary(RunRecord.read(fake_run())).body
    assert "| training time | 1 min 02 s |" in body
    assert "| total time | 1 min 15 s |" in body
    assert "cpu, 2 threads" in body


def test_summary_names_the_schedule_and_what_multiplies_outside(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run())
    run.results["stopped"] = {"dense1": 7}
    run.config["schedule"] = {"kind": "greedy", "epochs": 3, "cache": False, "patience": None}
    run.results.update(boxes={"program1": {}}, blocks=[{"name": "program1", "multiplications": 0}])
    body = summary(run).body
    assert "| schedule | greedy, epochs: 3 |" in body
    assert "| learned until epoch | dense1: 7 |" in body
    assert "| multiplications of a pass | 0 a sample; without those of program1 |" in body


def test_summary_of_an_old_run_has_only_the_total_time(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run(without=("train_s", "paper")))
    run.results["threads"] = 1
    body = summary(run).body
    assert "training time" not in body
    assert "| total time |" in body
    assert "paper" not in body
    assert "cpu, 1 thread |" in body


def test_caption_names_the_shown_units(fake_run: FakeRun) -> None:
    section = receptive_fields(RunRecord.read(fake_run()))
    assert section is not None
    assert "the 20 units of dense1 with the largest weight norm" in section.pictures[0].caption


def test_title_is_complete_and_does_not_overlap_the_legend(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run(blocks=12))
    run.results["title"] = "Forward-Forward with " + "many words " * 11
    with paper_style():
        figure = overview(run)
        figure.draw_without_rendering()
    head = figure.subfigs[0]
    title, numbers = head.texts
    assert " ".join(title.get_text().split()) == f"fake-ff – {run.results['title']}".strip()
    assert title.get_window_extent().x1 < head.legends[0].get_window_extent().x0
    assert title.get_window_extent().y0 > numbers.get_window_extent().y1


def test_title_gets_smaller_then_two_lines_then_shortened() -> None:
    assert fit_title("short", WIDTH) == ("short", 12)
    sizes = [fit_title("word " * n, 5.0)[1] for n in (2, 11, 14, 30)]
    assert sizes == sorted(sizes, reverse=True)
    assert fit_title("word " * 20, 5.0)[0].count("\n") == 1
    assert fit_title("word " * 60, 5.0)[0].endswith("…")


def test_curve_of_one_epoch_has_markers(fake_run: FakeRun) -> None:
    figure = overview(RunRecord.read(fake_run(epochs=1)))
    lines = [line for cell in figure.subfigs[1].subfigs for ax in cell.axes for line in ax.lines]
    assert all(line.get_marker() != "None" for line in lines if line.get_label() != "test, paper")


def test_one_is_singular(fake_run: FakeRun) -> None:
    run = RunRecord.read(fake_run())
    run.results["epochs"] = 1
    assert "1 epoch  ·" in overview(run).subfigs[0].texts[1].get_text()


def test_weights_that_look_like_noise_are_left_out(fake_run) -> None:
    rng = np.random.default_rng(0)
    noise, smooth = rng.normal(size=(30, 1, 12, 12)), np.sin(np.arange(144).reshape(1, 1, 12, 12) / 9)
    assert abs(likeness(noise)) < 0.1 < likeness(noise + 3 * smooth)
    assert likeness(rng.normal(size=(30, 3, 5, 5))) == 1.0  # small filters are always drawn
    run = fake_run()
    np.savez(run / "arrays.npz", **{"receptive/dense1": noise})
    assert receptive_fields(RunRecord.read(run)) is None
