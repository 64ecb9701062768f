import pytest
from pydantic import BaseModel

from ffcore.errors import UserError
from ffcore.plugin import Options
from ffcore.plugin.register import Register, RegisterRecipe


class Lax(BaseModel):
    pass


class Kinded(Options):
    kind: str


class Sized(Options):
    batch_size: int


@pytest.mark.parametrize(
    ("noun", "args", "message"),
    [
        ("goodness", ("Sum Squares", "a:B"), "no name for a goodness"),
        ("body", ("residual", "a:B"), "ffcore keeps it for itself"),
        ("command", ("run", "a:B"), "ffcore keeps it for itself"),
        ("goodness", ("x", "a.B"), "not of the form 'module:Name'"),
        ("goodness", ("x", 3), "neither 'module:Name' nor a class"),
        ("goodness", ("x", "a:B", Lax), "must forbid unknown keys"),
        ("goodness", ("x", "a:B", Kinded), "option 'kind'"),
        ("dataset", ("x", "a:B", Sized), "option 'batch_size'"),
    ],
)
def test_what_cannot_work_is_refused(noun, args, message):
    with pytest.raises(UserError, match=message):
        Register(noun, "p")(*args)


def test_a_class_is_summarised_by_its_docstring():
    class Thing:
        """One line.

        More.
        """

    register = Register("goodness", "p")
    register("thing", Thing)
    assert register.entries[0].summary == "One line."


def test_a_recipe_is_an_existing_file_with_a_tidy_name(tmp_path):
    path = tmp_path / "r.yaml"
    with pytest.raises(UserError, match="there is no file"):
        RegisterRecipe("recipe", "p")("a/b", path)
    path.touch()
    with pytest.raises(UserError, match="no name for a recipe"):
        RegisterRecipe("recipe", "p")("A b", path)
    register = RegisterRecipe("recipe", "p")
    register("a/b", path)
    assert register.entries[0].target == str(path)
