from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from ffcore.errors import UserError
from ffcore.plugin import hookimpl, manager
from ffcore.plugin.manager import Plugins
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.load import find
from ffcore.trust import trusting

GOOD = """
from ffcore.plugin import hookimpl
@hookimpl
def ffcore_register(registry):
    registry.goodness("NAME", "nowhere:X")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make modules of these texts the installed plugins."""

    def _install(**texts):
        points = []
        for name, text in texts.items():
            module = f"{tmp_path.name.replace('-', '_')}_{name}"
            (tmp_path / f"{module}.py").write_text(text)
            points.append(EntryPoint(name, module, manager.GROUP))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(manager, "entry_points", lambda group: points)
        monkeypatch.delenv(manager.DISABLE, raising=False)

    return _install


def good(name):
    return GOOD.replace("NAME", name)


def status(plugins):
    return {info.name: info.status for info in plugins.infos}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def", "SyntaxError"),
        (good("x") + "    1 / 0\n", "ZeroDivisionError: division by zero"),
        (good("x").replace("ffcore_register(", "ffcore_registr("), "unknown hook 'ffcore_registr' in plugin"),
        (good("x").replace("(registry)", "(register)"), "Argument(s) {'register'}"),
        (good("x").replace("@hookimpl", ""), "no function ffcore_register(registry) marked with @hookimpl"),
        (good("Bad Name"), "no name for a goodness"),
    ],
    ids=["import", "exit", "syntax", "call", "misspelt-hook", "misspelt-argument", "no-hookimpl", "name"],
)
def test_a_broken_plugin_is_reported_and_the_others_work(install, text, reason):
    install(bad=text, fine=good("y"))
    plugins = Plugins.load()
    assert reason in plugins.broken["bad"]
    assert status(plugins)["bad"].startswith("broken: ")
    assert status(plugins)["fine"] == "ok"
    assert plugins.registry.names("goodness") == ["y"]


def test_a_broken_plugin_is_named_when_something_is_not_found(install):
    install(bad="import no_such_module")
    with pytest.raises(UserError, match="plugin 'bad' is broken: ModuleNotFoundError"):
        Plugins.load().registry.get("goodness", "x")


def test_a_broken_plugin_is_named_when_its_recipe_is_not_found(install):
    install(bad="import no_such_module")
    manager.use(Plugins.load())
    try:
        with pytest.raises(
            UserError, match=r"no recipe 'bad/recipe'.*; plugin bad is broken: ModuleNotFound"
        ):
            find("bad/recipe")
    finally:
        manager.use(None)


def test_of_two_clashing_plugins_the_later_is_broken_and_registers_nothing(install):
    install(b=good("x") + '    registry.goodness("y", "nowhere:Y")\n', a=good("x"))
    plugins = Plugins.load()
    assert "'x' is registered twice: by plugins 'a' and 'b'" in plugins.broken["b"]
    assert plugins.registry.names("goodness") == ["x"]
    assert [info.name for info in plugins.infos] == ["a", "b"]


def test_the_environment_disables_by_name(install, monkeypatch):
    install(a=good("x"), b=good("y"))
    monkeypatch.setenv(manager.DISABLE, " a ,")
    plugins = Plugins.load()
    assert status(plugins) == {"a": "disabled", "b": "ok"}
    assert not plugins.broken
    with pytest.raises(UserError, match="disabled plugins: a"):
        plugins.registry.get("goodness", "x")


def test_the_environment_disables_all(install, monkeypatch):
    install(a=good("x"), b="1 / 0")
    monkeypatch.setenv(manager.DISABLE, "all")
    assert status(Plugins.load()) == {"a": "disabled", "b": "disabled"}


def test_disabling_an_unknown_plugin_raises(install, monkeypatch):
    install(alpha=good("x"))
    monkeypatch.setenv(manager.DISABLE, "alpah")
    with pytest.raises(UserError, match="'alpah', which is not an installed plugin; did you mean 'alpha'"):
        Plugins.load()


def test_a_file_is_a_plugin_and_its_targets_are_found(bare, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(good("x").replace('"nowhere:X"', 'f"{__name__}:X"') + "class X: pass\n")
    plugins = Plugins.load([str(file)])
    assert plugins.registry.get("goodness", "x").load().__name__ == "X"
    assert plugins.infos[-1].origin == str(file)


def test_a_command_for_the_user_names_plugin_files(bare, tmp_path):
    file = tmp_path / "my own.py"
    file.write_text(good("x"))
    manager.use(Plugins.load([str(file)]))
    assert manager.command("run", "--resume", "a run") == f"ffcore --plugin '{file}' run --resume 'a run'"
    with trusting():
        assert manager.command("run").startswith("ffcore --trust --plugin ")


def test_a_plugin_file_that_fails_raises(bare, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("1 / 0")
    with pytest.raises(UserError, match="is broken: ZeroDivisionError"):
        Plugins.load([str(file)])


def test_a_missing_repeated_or_clashing_file_raises(install, tmp_path):
    install(a=good("x"))
    missing, twice, clash = (tmp_path / name for name in ("missing.py", "a.py", "other.py"))
    twice.write_text(good("z"))
    clash.write_text(good("x"))
    for file, message in ((missing, "no plugin file"), (twice, "'a' already"), (clash, "'a' and 'other'")):
        with pytest.raises(UserError, match=message):
            Plugins.load([str(file)])


def test_a_file_added_again_is_read_again_and_a_broken_edit_changes_nothing(bare, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # bytecode of an edit within a second would be stale
    file = tmp_path / "mine.py"
    source = good("x").replace('"nowhere:X"', 'f"{__name__}:X"')
    file.write_text(source + "class X: says = 'first'\n")
    manager.use(Plugins())
    manager.add(file)
    file.write_text(source + "class X: says = 'second'\n")
    manager.add(str(file))
    assert manager.current().registry.get("goodness", "x").load().says == "second"
    file.write_text("1 / 0")
    with pytest.raises(UserError, match="is broken: ZeroDivisionError"):
        manager.add(file)
    assert manager.current().registry.get("goodness", "x").load().says == "second"
    assert manager.current().files == [str(file)]


class Mine:
    """A plugin that is a class."""

    @hookimpl
    def ffcore_register(registry):  # noqa: N805
        registry.goodness("mine", Mine)


def test_a_class_or_a_module_is_a_plugin_and_may_be_added_again(bare):
    manager.use(Plugins())
    module = ModuleType("notebook")
    module.ffcore_register = hookimpl(lambda registry: registry.goodness("module", Mine))
    for _ in range(2):
        manager.add(Mine)
        manager.add(module)
    assert manager.current().registry.names("goodness") == ["mine", "module"]
    assert [info.name for info in manager.current().infos] == ["Mine", "notebook"]
    assert manager.current().files == []


def test_a_hook_may_be_a_method_and_what_is_no_plugin_is_named(bare):
    manager.use(Plugins())

    class WithSelf:
        @hookimpl
        def ffcore_register(self, registry):
            registry.goodness("mine", Mine)

    manager.add(WithSelf)
    manager.add(WithSelf())
    assert manager.current().registry.names("goodness") == ["mine"]
    with pytest.raises(UserError, match=r"plugin int: it has no function ffcore_register\(registry\)"):
        manager.add(3)


def test_modules_of_the_same_name_in_two_packages_are_two_plugins(bare):
    manager.use(Plugins())
    for package in ("one", "two"):
        module = ModuleType(f"{package}.plugin")
        module.ffcore_register = hookimpl(
            lambda registry, package=package: registry.goodness(package, "nowhere:X")
        )
        manager.add(module)
    assert manager.current().registry.names("goodness") == ["one", "two"]


def test_a_component_is_registered_for_the_session_and_may_be_replaced(bare):
    manager.use(Plugins())
    manager.register("goodness", "x", Mine)
    manager.register("goodness", "x", "nowhere:X", "another one")
    assert manager.current().registry.get("goodness", "x").summary == "another one"
    with pytest.raises(UserError, match="'godness' is not a sort of component; did you mean 'goodness'"):
        manager.register("godness", "x", Mine)
    manager.add(Mine)
    with pytest.raises(UserError, match="'mine' is registered twice"):
        manager.register("goodness", "mine", Mine)


def test_every_noun_can_be_registered(fake):
    for noun in NOUNS:
        assert {entry.plugin for entry in fake.registry.entries(noun)} == {"fake"}, noun


def test_the_current_plugins_are_those_in_use(fake):
    assert manager.current() is fake
    manager.use(None)
    assert manager.current() is not fake
    assert manager.current() is manager.current()


def test_the_installed_plugins_work(monkeypatch):
    monkeypatch.delenv(manager.DISABLE, raising=False)
    assert not Plugins.load().broken
