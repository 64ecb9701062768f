import pytest

from ffcore.errors import UserError
from ffcore.plugin.registry import Entry, Registry


def entry(name="rms", plugin="a", target="math:pi", noun="handoff"):
    return Entry(noun, name, target, plugin)


def test_a_dotted_target_is_imported_when_loaded():
    assert entry(target="math:pi").load() == pytest.approx(3.14159, abs=1e-4)


@pytest.mark.parametrize("target", ["no_such_module:X", "math:no_such_name"])
def test_a_failed_import_names_plugin_noun_name_and_cause(target):
    with pytest.raises(UserError, match=r"handoff 'rms' of plugin 'a' cannot be loaded from .*Error"):
        entry(target=target).load()


def test_two_plugins_with_one_name_are_both_named_and_nothing_is_added():
    registry = Registry()
    registry.add(entry(plugin="a"))
    with pytest.raises(UserError, match="'rms' is registered twice: by plugins 'a' and 'b'"):
        registry.extend([entry(name="other", plugin="b"), entry(plugin="b")])
    assert registry.names("handoff") == ["rms"]


def test_an_unknown_name_gives_the_nearest_and_the_broken_plugins():
    registry = Registry({"bad": "ImportError: x"}, ["off"])
    registry.add(entry())
    with pytest.raises(
        UserError,
        match=r"'rmss' is not a handoff; did you mean 'rms'.*'bad' is broken: .*disabled plugins: off",
    ):
        registry.get("handoff", "rmss")
