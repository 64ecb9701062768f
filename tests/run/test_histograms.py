"""Histograms of the goodness of both views after every validation."""

import numpy as np
import pytest

from ffcore.run import arrays as measured
from ffcore.run import histograms
from ffcore.run.histograms import BINS, bin_edges


def test_all_samples_are_counted_after_every_validation(finished):
    with np.load(finished.path / "arrays.npz") as arrays:
        assert arrays["history/epochs"].tolist() == [1, 2]
        n = finished.results["data"]["validation"]
        for block in ("dense1", "dense2", "dense3"):
            edges = arrays[f"history/{block}/edges"]
            assert edges.shape == (2, 33)
            assert (np.diff(edges) > 0).all()
            for role in ("positive", "negative"):
                assert arrays[f"history/{block}/{role}"].sum(1).tolist() == [n, n]


def test_the_last_counts_are_those_of_the_goodness_that_the_report_draws(finished):
    with np.load(finished.path / "arrays.npz") as arrays:
        counts, _ = np.histogram(arrays["goodness/dense2/positive"], arrays["history/dense2/edges"][-1])
        assert counts.tolist() == arrays["history/dense2/positive"][-1].tolist()


def test_class_goodness_has_no_histograms_of_views(quick):
    run = quick(algorithm="backprop", contribution="sum")
    with np.load(run.path / "arrays.npz") as arrays:
        assert not [name for name in arrays if name.startswith("history/")]


@pytest.mark.parametrize("size", [0, 1, 1e-30, 1e6, 3e38])
def test_values_a_few_floating_point_steps_apart_get_bins(size):
    first = np.float32(size)
    values = np.array([first, np.nextafter(first, np.float32(0)), first], dtype=np.float32)
    edges = bin_edges(values)
    assert len(edges) == BINS + 1
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == 3


def broken(*args, **options):
    raise ValueError("Too many bins\nfor data range")


def test_an_observer_that_fails_does_not_end_the_run(quick, monkeypatch):
    for module, name in ((histograms, "energies"), (measured, "_examples"), (measured, "_receptive")):
        monkeypatch.setattr(module, name, broken)
    monkeypatch.setattr("ffcore.run.train.write_report", broken)
    with pytest.warns(UserWarning, match="left out") as warned:
        run = quick()
    assert run.results.epochs == 2
    lines = [str(each.message) for each in warned]
    assert len(lines) == 4  # of the histograms only once
    for line, what in zip(lines, ("histograms", "receptive fields", "misclassified", "report"), strict=True):
        assert what in line
        assert "left out" in line
        assert "\n" not in line
    with np.load(run.path / "arrays.npz") as kept:
        assert any(name.startswith("goodness/") for name in kept)
