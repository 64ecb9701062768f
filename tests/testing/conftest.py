import pytest

from ffcore.plugin import manager
from ffcore.plugin.registry import Entry


@pytest.fixture
def plugins():
    """A registry of this test's own."""
    plugins = manager.Plugins.load()
    manager.use(plugins)
    yield plugins
    manager.use(None)


@pytest.fixture
def register(plugins):
    def add(noun, target, summary="a component"):
        plugins.registry.add(Entry(noun, "mine", target, "std", summary))

    return add
