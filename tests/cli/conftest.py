from pathlib import Path

import pytest

from ffcore.plugin import manager

FAKE = Path(__file__).parents[1] / "plugin" / "fake.py"


@pytest.fixture
def bare(monkeypatch):
    """No installed plugin."""
    monkeypatch.setenv(manager.DISABLE, "all")
    yield
    manager.use(None)


@pytest.fixture
def fake(bare):
    """The fake plugin in use, alone."""
    plugins = manager.Plugins.load([str(FAKE)])
    manager.use(plugins)
    return plugins
