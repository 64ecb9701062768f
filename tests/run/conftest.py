import itertools
from collections.abc import Callable
from typing import Any

import pytest

import ffcore
from ffcore.plugin import manager


@pytest.fixture(autouse=True)
def installed_plugins():
    yield
    manager.use(None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """digits/ff after two epochs, trained once, with a report."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return ffcore.train("digits/ff", run_dir=folder, trainer={"max_epochs": 2, "threads": 1})


@pytest.fixture
def quick(tmp_path, undrawn) -> Callable[..., Any]:
    """Train small networks for two epochs, without reports, which would take most of the time."""
    numbers = itertools.count(1)

    def train(recipe="digits/ff", data=None, run_dir=None, callbacks=(), **overrides):
        small = {"trainer.threads": 1, "trainer.max_epochs": 2, "data.batch_size": 100}
        if "network" not in overrides and "/" in recipe:
            small["network.0.units"] = 64
        folder = run_dir or tmp_path / f"run{next(numbers)}"
        options = {**small, **overrides}
        return ffcore.train(recipe, data=data, run_dir=folder, callbacks=callbacks, **options)

    return train
