"""What holds for all tests, and the fake plugin that several rooms are tried with."""

import os
import signal
from pathlib import Path

# Small matrices: threads would only wait for each other, in what tests start too. Before NumPy is loaded.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# The width of tables; pytest-xdist sets it.
os.environ.pop("COLUMNS", None)

import pytest
import torch

from ffcore.plugin import manager

torch.set_num_threads(1)

# Tests press Ctrl-C; a shell that runs them in the background has it ignored, here and in what they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--thorough", action="store_true", help="also run tests marked thorough")


def pytest_collection_modifyitems(config, items):
    """Leave out the tests marked thorough, unless they are asked for."""
    if not config.getoption("--thorough"):
        left = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)


FAKE = Path(__file__).parent / "plugin" / "fake.py"


@pytest.fixture
def undrawn(monkeypatch):
    """Runs without their reports, which take longer to draw than small networks take to learn."""
    monkeypatch.setattr("ffcore.run.train.write_report", lambda *args: None)


@pytest.fixture
def bare(monkeypatch):
    """No installed plugin."""
    monkeypatch.setenv(manager.DISABLE, "all")
    yield
    manager.use(None)


@pytest.fixture
def plugins():
    """A separate registry for this test."""
    plugins = manager.Plugins.load()
    manager.use(plugins)
    yield plugins
    manager.use(None)


@pytest.fixture
def fake(bare):
    """The fake plugin in use, alone."""
    plugins = manager.Plugins.load([str(FAKE)])
    manager.use(plugins)
    return plugins
