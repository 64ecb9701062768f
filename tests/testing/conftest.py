import pytest

from ffcore.plugin.registry import Entry


@pytest.fixture
def register(plugins):
    def add(noun, target, summary="a component"):
        plugins.registry.add(Entry(noun, "mine", target, "std", summary))

    return add
