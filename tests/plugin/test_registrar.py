import pytest

from ffcore.errors import UserError
from ffcore.plugin.registrar import Registrar


@pytest.mark.parametrize(
    ("noun", "args", "message"),
    [
        ("goodness", ("Sum Squares", "a:B"), "no name for a goodness"),
        ("body", ("residual", "a:B"), "ffcore uses it itself"),
        ("command", ("run", "a:B"), "ffcore uses it itself"),
        ("goodness", ("x", "a.B"), "not of the form 'module:Name'"),
        ("goodness", ("x", 3), "neither 'module:Name' nor a class"),
        ("goodness", (3, "a:B"), "3 is no name for a goodness: it should be a string"),
        ("goodness", ("x", len), "is an instance of builtin_function_or_method; give the class"),
    ],
)
def test_invalid_registrations_raise(noun, args, message):
    with pytest.raises(UserError, match=message):
        Registrar("p").add(noun, *args)


def test_each_noun_has_a_method():
    registry = Registrar("p")
    registry.lr_schedule("x", "a:B")
    assert (registry.entries[0].noun, registry.entries[0].plugin) == ("lr_schedule", "p")
    with pytest.raises(AttributeError, match="no sort of component 'godness'"):
        registry.godness("x", "a:B")


def test_a_class_is_summarised_by_its_docstring_unless_it_is_given():
    class Thing:
        """One line.

        More.
        """

    registry = Registrar("p")
    registry.goodness("thing", Thing)
    registry.goodness("other", Thing, "another line")
    assert [entry.summary for entry in registry.entries] == ["One line.", "another line"]


def test_a_recipe_is_an_existing_file_with_a_valid_name(tmp_path):
    path, registry = tmp_path / "r.yaml", Registrar("p")
    with pytest.raises(UserError, match="there is no file"):
        registry.recipe("a/b", path)
    path.touch()
    with pytest.raises(UserError, match="no name for a recipe"):
        registry.recipe("A b", path)
    registry.recipe("a/b", path)
    assert registry.entries[0].target == str(path)
