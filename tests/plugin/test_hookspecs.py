import inspect

import pytest

from ffcore.plugin import hookspecs
from ffcore.plugin.nouns import NOUNS


@pytest.mark.parametrize("noun", NOUNS)
def test_every_hook_says_when_args_return_and_example(noun):
    doc = inspect.getdoc(getattr(hookspecs, NOUNS[noun].hook))
    for part in ("When:", "Args:", "Returns:", "Example:"):
        assert part in doc


@pytest.mark.parametrize("noun", NOUNS)
def test_every_hook_registers(fake, noun):
    assert fake.registry.names(noun)
    assert {entry.plugin for entry in fake.registry.entries(noun)} == {"fake"}


def test_there_are_no_other_hooks():
    hooks = {name for name in vars(hookspecs) if name.startswith("ffcore_")}
    assert hooks == {noun.hook for noun in NOUNS.values()}
