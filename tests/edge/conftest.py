import functools

import pytest

from ffcore.edge import Learner, load
from tests.edge.bundles import data, write_bundle


@pytest.fixture
def make_bundle(tmp_path):
    """Writes a bundle; see `bundles.write_bundle`."""
    return lambda name="bundle", **changes: write_bundle(tmp_path / name, **changes)


@pytest.fixture
def make_learner(make_bundle):
    """Makes a bundle and a learner of it."""

    def made(seed=None, keep_sessions=True, **changes):
        return Learner(load(make_bundle(**changes), keep_sessions=keep_sessions), seed)

    return made


@pytest.fixture
def samples():
    return data()


@pytest.fixture
def states():
    return functools.partial(lambda learner: {name: array.copy() for name, array in learner.items()})
