"""`ffcore new`: packages, recipes and examples work as they are created."""

import sys
import tomllib

import pytest
import torch
import yaml
from torch import nn

import ffcore
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.cli.main import main
from ffcore.errors import UserError
from ffcore.recipe.load import load
from ffcore.run.data import Data
from ffcore.scaffold import KINDS, new_example, new_plugin, new_recipe
from ffcore.testing import cases

TRAINED = ("rule", "algorithm", "circuit", "dataset")


@pytest.fixture
def installed(plugins, tmp_path, monkeypatch):
    """Makes a package and loads its plugin, as if it were installed; returns the folder."""

    def install(noun):
        name = f"new-{noun.replace('_', '-')}"
        folder = new_plugin(name, noun, tmp_path)
        monkeypatch.syspath_prepend(folder / "src")
        module = __import__(f"{name.replace('-', '_')}.plugin", fromlist=["plugin"])
        assert plugins.add(module) == module.__name__
        return folder, module.__name__

    yield install
    for name in [name for name in sys.modules if name.startswith("new_")]:
        del sys.modules[name]


@pytest.mark.parametrize("noun", KINDS)
def test_a_new_plugin_passes_the_kit_and_its_recipe_is_built(noun, installed):
    folder, plugin = installed(noun)
    found = cases(plugin=plugin)
    assert {case.example.entry.noun for case in found} == {noun, "recipe"}
    for case in found:
        if not case.waived:
            case.run()
    (file,) = (folder / "src").glob("*/recipes/*.yaml")
    recipe = load(yaml.safe_load(file.read_text())["name"])
    module = assembled_for(recipe, Form.of(Data.open(recipe).images))
    assert f"new-{noun.replace('_', '-')}" in file.read_text()
    assert len(module.network.blocks) > 0


@pytest.mark.parametrize("noun", TRAINED)
def test_the_recipe_of_a_new_plugin_learns(noun, installed, tmp_path):
    folder, _ = installed(noun)
    (file,) = (folder / "src").glob("*/recipes/*.yaml")
    name = yaml.safe_load(file.read_text())["name"]
    options = {"trainer.max_epochs": 4, "trainer.threads": 1, "report": False}
    run = ffcore.train(name, run_dir=tmp_path / "run", **options)
    assert run.results["test"]["accuracy"] > 0.2


def test_a_new_package_is_complete(tmp_path):
    folder = new_plugin("my-rule", "rule", tmp_path, author="A. Person")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/test.yml",
        "src/my_rule/__init__.py",
        "src/my_rule/plugin.py",
        "src/my_rule/rule.py",
        "src/my_rule/recipes/digits.yaml",
        "tests/test_my_rule.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["ffcore.plugins"] == {"my-rule": "my_rule.plugin"}
    assert "A. Person" in (folder / "LICENSE").read_text()
    assert "class MyRule(LearningRule)" in (folder / "src/my_rule/rule.py").read_text()
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "MINE" not in text
            assert "Mine" not in text
    compile((folder / "tests/test_my_rule.py").read_text(), "test", "exec")


@pytest.mark.parametrize(
    ("name", "noun", "words"),
    [
        ("MyRule", "rule", "lower-case words"),
        ("my_rule", "rule", "lower-case words"),
        ("my-rule", "rul", "did you mean 'rule'"),
        ("class", "rule", "a word of Python or YAML"),
        ("none", "rule", "a word of Python or YAML"),
        ("on", "rule", "a word of Python or YAML"),
        ("tensor", "penalty", "which the template imports"),
        ("local", "rule", "an installed plugin"),
        ("sum-squares", "goodness", "a goodness that exists"),
        ("json", "rule", "an installed module"),
        ("torch", "rule", "an installed module"),
    ],
)
def test_a_wrong_name_or_noun_writes_nothing(tmp_path, name, noun, words):
    with pytest.raises(UserError, match=words):
        new_plugin(name, noun, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_author_is_one_line_of_text(tmp_path):
    folder = new_plugin("my-rule", "rule", tmp_path, author='Jo "X" Y\\')
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["authors"] == [{"name": "Jo 'X' Y"}]


@pytest.mark.parametrize("stem", ["a: b", "no", "1", "[z"])
def test_a_new_recipe_may_have_any_file_name(tmp_path, stem):
    path = new_recipe(tmp_path / f"{stem}.yaml")
    assert yaml.safe_load(path.read_text())["name"] == stem


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        new_plugin("my-rule", "rule", tmp_path / "none")


def test_the_rule_of_a_new_plugin_teaches_the_goodness_too(installed):
    installed("rule")
    x, y = torch.randn(6, 5), torch.arange(6) % 3
    block = ffcore.LocalBlock(nn.Linear(5, 4), "linear-head", objective="cross-entropy", rule="new-rule")
    net = ffcore.Network([block], "local-errors", x[:2], 3)
    before = [p.clone() for p in block.parameters()]
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    for _ in range(2):  # the head starts at zero
        net.learn(x, y, optimizers)
    assert all((now != then).any() for now, then in zip(block.parameters(), before, strict=True))


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "my-thing").mkdir()
    (tmp_path / "mine.yaml").write_text("old")
    (tmp_path / "mine.py").write_text("old")
    for write, path in (
        (lambda path: new_plugin("my-thing", "rule", path), tmp_path),
        (new_recipe, tmp_path / "mine.yaml"),
        (new_example, tmp_path / "mine.py"),
    ):
        with pytest.raises(UserError, match="already exists"):
            write(path)
    assert (tmp_path / "mine.yaml").read_text() == "old"


def test_a_new_recipe_runs(tmp_path):
    path = new_recipe(tmp_path / "my-first.yaml")
    recipe = load(str(path))
    assert recipe.name == "my-first"
    run = ffcore.train(
        str(path),
        run_dir=tmp_path / "run",
        report=False,
        **{"trainer.max_epochs": 1, "trainer.threads": 1, "network.0.units": 50},
    )
    assert run.results["test"]["accuracy"] > 0.1


def test_a_new_example_learns(tmp_path, capsys):
    path = new_example(tmp_path / "own.py")
    names: dict = {}
    exec(compile(path.read_text(), str(path), "exec"), names)
    assert names["main"]() > 0.9
    assert "test accuracy" in capsys.readouterr().out


def test_the_command_says_what_comes_next(tmp_path, capsys):
    assert main(["new", "plugin", "my-box", "--noun", "blackbox", "--into", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "src/my_box/blackbox.py" in out
    assert "ffcore check my-box" in out
    assert main(["new", "plugin", "my-box", "--noun", "blackbox", "--into", str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err
