import pytest

from ffcore.plugin import manager
from ffcore.plugin.registry import Entry


@pytest.fixture
def plugins():
    """A separate registry for this test."""
    plugins = manager.Plugins.load()
    manager.use(plugins)
    yield plugins
    manager.use(None)


@pytest.fixture
def register(plugins):
    def add(noun, target, summary="a component"):
        plugins.registry.add(Entry(noun, "mine", target, "std", summary))

    return add
