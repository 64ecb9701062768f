"""Histograms of the goodness of both views after every validation."""

import numpy as np


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
