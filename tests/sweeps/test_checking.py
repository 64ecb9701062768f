"""What a sweep checks before its first run begins."""

import pickle

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import Goodness
from ffcore.plugin import manager
from ffcore.recipe import load
from ffcore.sweeps.checking import checker

PLUGIN = """
from ffcore.interfaces import Goodness
from ffcore.plugin import hookimpl

class Own(Goodness):
    def forward(self, activity):
        return activity.flatten(1).sum(1)

@hookimpl
def ffcore_register(registry):
    registry.goodness("own", Own)
"""


class Registered(Goodness):
    def forward(self, activity):
        return activity.flatten(1).sum(1)


def test_components_of_this_process_are_refused_and_those_of_files_stay_as_they_are(plugins, tmp_path):
    (tmp_path / "own_plugin.py").write_text(PLUGIN)
    plugins.add(str(tmp_path / "own_plugin.py"))
    plugins.register("goodness", "registered", Registered)
    own = plugins.registry.get("goodness", "own").target
    check = checker()
    check(load.load("digits/ff", ["block.goodness.kind=own"]))
    with pytest.raises(
        UserError, match=r"'registered' is not a goodness.*no components that this process has"
    ):
        check(load.load("digits/ff", ["block.goodness.kind=registered"]))
    assert pickle.loads(pickle.dumps(own)) is own  # a file that is run again has other classes
    assert manager.current().registry.get("goodness", "registered").target is Registered
