"""Dynamic time warping beside its recursion, stored sequences, warped digits, a run around the box."""

from functools import cache

import numpy as np
import pytest
import torch

from ffcore.data.digits import Digits
from ffcore.interfaces import Context
from ffcore.local import BoxStage
from ffcore.recipe.load import load
from ffcore.run.train import train
from ffcore.tasks import Regression
from ffcore_blackbox.alignment import Alignment, WarpedDigits, warped_distances


def by_recursion(x, e):
    @cache
    def least(i, j):
        if i == 0 or j == 0:
            return 0.0 if i == j else np.inf
        own = ((x[i - 1] - e[j - 1]) ** 2).sum()
        return own + min(least(i - 1, j), least(i, j - 1), least(i - 1, j - 1))

    return least(len(x), len(e)) / (len(x) + len(e))


def sequences(n, frames=5, features=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, frames, features)).astype(np.float32)


def test_distances_are_those_of_the_recursion():
    x, others = sequences(70), sequences(4, frames=7, seed=1)
    right = [[by_recursion(a, b) for b in others] for a in x]
    np.testing.assert_allclose(warped_distances(x, others), right, rtol=1e-5)


def test_distances_of_features_far_from_zero_keep_their_digits():
    x, others = (100 + 0.01 * sequences(4, seed=seed) for seed in (0, 1))
    right = [[by_recursion(a.astype(float), b.astype(float)) for b in others] for a in x]
    np.testing.assert_allclose(warped_distances(x, others), right, rtol=2e-2)


def test_one_stored_sequence_is_enough():
    box = Alignment(stored=1)
    box.setup(Context((5, 3), 1))
    box.fit([(torch.tensor(sequences(1)), torch.zeros(1, dtype=torch.int64))])
    assert BoxStage(box)(torch.tensor(sequences(3))).isfinite().all()


def test_a_sequence_and_its_stretched_copy_are_not_apart():
    x = sequences(1)
    np.testing.assert_allclose(warped_distances(x, x.repeat(3, axis=1)), 0, atol=1e-5)


def test_the_first_samples_of_each_class_are_stored():
    box = Alignment(stored=2)
    box.setup(Context((5, 3), 2))
    x, y = torch.tensor(sequences(6)), torch.tensor([1, 1, 1, 0, 0, 1])
    assert BoxStage(box)(x).shape == (6, 4)
    box.fit([(x[:4], y[:4]), (x[4:], y[4:])])
    near = BoxStage(box)(x)
    assert near.argmax(1)[[3, 4, 0, 1]].tolist() == [0, 1, 2, 3]
    distances = warped_distances(x.numpy(), x.numpy()[[3, 4, 0, 1]])
    between = distances[[3, 4, 0, 1]][~np.eye(4, dtype=bool)]
    right = (between.mean() - distances) / between.std(ddof=1)
    np.testing.assert_allclose(near.numpy(), right, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="stored: 2, but class 0 has 1 samples"):
        box.fit([(x[:4], y[:4])])


@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        (Context((2, 5, 3), 2), r"needs sequences \(T, C\), not samples of shape \(2, 5, 3\)"),
        (Context((5, 3), 2, task=Regression(2)), "stores samples of each class, but the task is Regression"),
    ],
)
def test_other_inputs_and_targets_are_refused(context, complaint):
    with pytest.raises(ValueError, match=complaint):
        Alignment().setup(context)


def test_a_warped_digit_is_its_columns_in_order():
    data = WarpedDigits(channels=8, noise=0.0).load()
    digits = Digits().load().train
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    for x, image in zip(data.train.x[:50] @ rotation.T, digits.x[:50, 0] / 16, strict=True):
        columns = 2 * image.T
        at = [int(np.abs(columns - frame).sum(1).argmin()) for frame in x]
        np.testing.assert_allclose(x, columns[at], atol=1e-4)
    assert data.test.x.shape == (360, 24, 8)
    with pytest.raises(ValueError, match="channels: 4; a column of a digit has 8 pixels"):
        WarpedDigits(channels=4)


@pytest.mark.thorough
def test_blocks_around_the_alignment_learn(tmp_path):
    recipe = load("digits/blackbox-align", ["data.noise=0.5", "trainer.max_epochs=30"])
    run = train(recipe, tmp_path / "run", report=False)
    assert run.results.test.accuracy > 0.8
    assert run.results.test.per_block_accuracy["frames"] < 0.75  # without the box
