import pytest

from ffcore.errors import UserError
from ffcore.plugin import Options
from ffcore.plugin.registry import Entry, Registry


def entry(name="rms", plugin="a", target="math:pi", config=None, noun="handoff"):
    return Entry(noun, name, target, config, "", plugin)


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


def test_an_unknown_name_gets_the_nearest_and_the_plugins_that_are_missing():
    registry = Registry({"bad": "ImportError: x"}, ["off"])
    registry.add(entry())
    with pytest.raises(
        UserError,
        match=r"'rmss' is not a handoff; did you mean 'rms'.*'bad' is broken: .*disabled plugins: off",
    ):
        registry.get("handoff", "rmss")


def test_a_schema_comes_from_the_signature_if_there_is_no_config():
    class Scale:
        def __init__(self, by: float = 2.0) -> None: ...

    assert entry(target=Scale).schema()().by == 2.0


def test_a_signature_may_not_use_a_name_that_recipes_use():
    class Body:
        def __init__(self, repeat: int) -> None: ...

    with pytest.raises(UserError, match=r"body 'rms' of plugin 'a': option 'repeat' of Body"):
        entry(noun="body", target=Body).schema()


def test_a_config_is_the_schema():
    class Config(Options):
        pass

    assert entry(config=Config).schema() is Config
