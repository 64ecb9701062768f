"""Wrong labels of training samples."""

import numpy as np
import pytest

import ffcore
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.label_noise import with_wrong_labels
from ffcore.errors import UserError
from ffcore.recipe.load import load
from ffcore.run.data import Data
from ffcore.tasks import Regression

N, K = 5000, 5
SPLIT = Split(np.zeros((N, 1), dtype="float32"), np.arange(N) % K)


def test_the_share_is_exact_and_every_other_class_is_as_likely():
    made = with_wrong_labels(SPLIT, 0.4, K, seed=1)
    wrong = made.y != SPLIT.y
    assert wrong.sum() == 2000
    assert made.y.dtype == np.int64
    counts = np.bincount((made.y - SPLIT.y)[wrong] % K, minlength=K)
    assert counts[0] == 0
    assert counts[1:] == pytest.approx([500] * 4, abs=80)
    assert made.x is SPLIT.x
    assert set(SPLIT.y[:5]) == set(range(5)), "the given labels have not changed"


def test_it_depends_on_the_seed_alone():
    one, again, other = (with_wrong_labels(SPLIT, 0.2, K, seed=s).y for s in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()
    assert (with_wrong_labels(SPLIT, 1.0, K, seed=1).y != SPLIT.y).all()


def test_only_training_labels_of_a_recipe_change():
    plain, noisy = (
        Data.open(load("digits/ff", (f"data.label_noise={p}",)), learning=True) for p in (0, 0.25)
    )
    assert (plain.train.y != noisy.train.y).sum() == round(0.25 * len(plain.train))
    assert plain.val is not None
    assert noisy.val is not None
    assert (plain.val.y == noisy.val.y).all()
    assert (plain.images.test.y == noisy.images.test.y).all()
    assert noisy.statistics().counts != plain.statistics().counts


def test_a_finished_run_is_measured_with_the_labels_of_the_files():
    plain, noisy = (Data.open(load("digits/ff", (f"data.label_noise={p}",))) for p in (0, 0.25))
    assert (plain.train.y == noisy.train.y).all()


def test_a_run_records_it(quick_run):
    assert quick_run.recipe.data.label_noise == 0.5
    assert "label_noise: 0.5" in (quick_run.path / "config.yaml").read_text()


@pytest.fixture
def quick_run(tmp_path, undrawn):
    small = {"network.0.units": 20, "trainer.max_epochs": 1, "trainer.threads": 1, "data.label_noise": 0.5}
    run = ffcore.train("digits/mono-forward", run_dir=tmp_path / "run", **small)
    return ffcore.load(run.path)


@pytest.mark.parametrize("value", ["-0.1", "1.1", "many"])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(UserError, match=r"data\.label_noise"):
        load("digits/ff", (f"data.label_noise={value}",))


class Values(Dataset):
    """Real numbers as targets."""

    def load(self):
        x, y = np.zeros((20, 3), dtype="float32"), np.arange(20, dtype="float32")[:, None]
        return ImageSet("values", Split(x, y), Split(x, y), ("a",), 1.0, {}, task=Regression(1))


def test_other_targets_are_refused():
    recipe = load("digits/mono-forward", ("data.label_noise=0.5",))
    with pytest.raises(UserError, match="not one class a sample"):
        Data.open(recipe, Values())
