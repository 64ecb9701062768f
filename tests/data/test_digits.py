from __future__ import annotations

import hashlib

import numpy as np

from ffcore.data.digits import Digits


def test_digits_are_complete_and_scaled() -> None:
    data = Digits().load()
    assert data.shape == (1, 8, 8)
    assert (len(data.train), len(data.test), data.num_classes) == (1437, 360, 10)
    assert data.train.x.max() * data.scale == 1.0
    assert "scikit-learn" in data.provenance["sklearn.datasets.load_digits"]


def test_the_test_split_is_stratified() -> None:
    data = Digits().load()
    everything = np.bincount(np.concatenate([data.train.y, data.test.y]))
    assert np.abs(np.bincount(data.test.y) - everything * 360 / 1797).max() < 1


def test_the_test_split_never_changes() -> None:
    labels = Digits().load().test.y
    assert hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()[:16] == "71ee03bde6d44cc9"
