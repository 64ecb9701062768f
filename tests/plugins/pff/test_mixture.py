"""Mixtures over latents."""

import numpy as np
import pytest
import torch

from ffcore_pff.mixture import Mixture
from ffcore_pff.quality import Judge, nearest


def clusters(n=300, seed=0):
    """Latents of two classes: the first in two clusters, the second in one."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 2
    centre = np.where(y == 1, 0.0, np.where(np.arange(n) % 4 == 0, 10.0, -10.0))
    z = centre[:, None] + random.normal(size=(n, 3))
    return torch.tensor(z, dtype=torch.float32), torch.tensor(y)


def test_samples_of_a_class_lie_where_its_latents_do():
    mixture = Mixture.fit(*clusters(), classes=2, components=2)
    made = mixture.sample([0] * 400, np.random.default_rng(1))
    assert ((made.mean(1).abs() - 10).abs() < 3).all()
    share = (made.mean(1) > 0).float().mean()
    assert 0.4 < share < 0.6
    assert mixture.sample([1] * 400, np.random.default_rng(1)).mean().abs() < 0.2


def test_the_same_seed_gives_the_same_samples():
    mixture = Mixture.fit(*clusters(), classes=2, components=2)
    once, again, other = (mixture.sample([0, 1], np.random.default_rng(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert not torch.equal(once, other)


def test_a_mixture_comes_back_from_the_arrays_that_it_is_kept_as():
    mixture = Mixture.fit(*clusters(), classes=2, components=2)
    back = Mixture.read({name: value.float().numpy() for name, value in mixture.arrays().items()})
    np.testing.assert_allclose(back.means, mixture.means, rtol=1e-6)
    assert Mixture.read({}) is None


def test_more_components_than_latents_are_refused():
    z, y = clusters(8)
    with pytest.raises(ValueError, match="components: 5, but class 0 has only 4 training samples"):
        Mixture.fit(z, y, classes=2, components=5)


def test_a_judge_knows_the_class_of_what_it_has_learned():
    x, y = clusters(400)
    judge = Judge.train(x, y, *clusters(100, seed=1))
    assert judge.accuracy > 0.95
    assert judge.agreement(*clusters(100, seed=2)) > 0.95


def test_a_copy_is_at_no_distance():
    train = torch.rand(5, 1, 2, 2)
    found = nearest(torch.stack([train[3], train[0] + 1]), train)
    assert found[0] < 1e-3  # what cdist leaves of zero
    torch.testing.assert_close(found[1], torch.cdist((train[:1] + 1).flatten(1), train.flatten(1)).min())
