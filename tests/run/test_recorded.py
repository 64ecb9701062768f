"""The recipe of a run that used a plugin which is not loaded now."""

import pytest

import ffcore
from ffcore.errors import UserError
from ffcore.files import RESULTS
from ffcore.plugin import manager
from ffcore.run.recorded import explained

PLUGIN = """
from ffcore.plugin import hookimpl
@hookimpl
def ffcore_register(registry):
    registry.goodness("mine", "ffcore_goodness.energies:HuberNorm")
"""


@pytest.fixture(autouse=True)
def fresh():
    manager.use(None)
    yield
    manager.use(None)


@pytest.mark.parametrize("finished", [True, False])
def test_a_plugin_file_that_is_not_loaded_is_named_before_the_unknown_kinds(quick, tmp_path, finished):
    file = tmp_path / "inky.py"
    file.write_text(PLUGIN)
    ffcore.add_plugin(file)
    path = quick(**{"block.goodness.kind": "mine", "trainer.max_epochs": 1}).path
    manager.use(None)
    if not finished:
        (path / RESULTS).unlink()
    expected = r"plugin file inky\.py, which is not loaded; give `ffcore --plugin inky\.py.*'mine' is not a"
    with pytest.raises(UserError, match=expected):
        ffcore.load(path)
    ffcore.add_plugin(file)
    ffcore.load(path)


@pytest.mark.parametrize(
    ("command", "plugins", "expected"),
    [
        ("ffcore --plugin my/inky.py run x.yaml", {"inky": "sha256:0"}, "--plugin my/inky.py …`"),
        (None, {"inky": "0.1"}, "the plugin inky, which is not loaded; install it"),
        (None, {}, "^unknown$"),
    ],
)
def test_a_missing_plugin_is_named_as_the_run_was_given_it(tmp_path, command, plugins, expected):
    with pytest.raises(UserError, match=expected):
        raise explained(UserError("unknown"), tmp_path, command, plugins)
