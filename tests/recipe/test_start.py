"""The ``start`` part of a recipe."""

import pytest

from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, load
from ffcore.recipe.start import StartConfig


@pytest.mark.parametrize(
    "start",
    [
        {"run": "runs/a"},
        {"run": "runs/a", "checkpoint": "best", "blocks": ["dense1"], "freeze": ["dense1"]},
        {"freeze": "all"},
    ],
)
def test_it_loads_from_a_dump(start, tmp_path):
    assert load("digits/ff").start is None
    recipe = load("digits/ff", [f"start={start}"])
    (tmp_path / "r.yaml").write_text(dump(recipe))
    assert load(str(tmp_path / "r.yaml")) == recipe
    assert recipe.start == StartConfig(**start)


def test_an_override_may_set_it():
    assert load("digits/ff", ["start.run=runs/a", "start.freeze=[dense1]"]).start == StartConfig(
        run="runs/a", freeze=["dense1"]
    )


def test_a_recipe_with_a_start_has_no_paper():
    assert load("mnist/ff").paper is not None
    assert load("mnist/ff", ["start.run=runs/a"]).paper is None


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("start.freeze=dense1", "should be 'all' or a list of names"),
        ("start.freeze=[1]", "should be 'all' or a list of names"),
        ("start.blocks=[dense1]", "'blocks' needs 'run'"),
        ("start.checkpoint=last", "'checkpoint' needs 'run'"),
        ("start={run: a, blocks: []}", "start.blocks"),
        ("start={run: a, checkpoint: lst}", "start.checkpoint"),
        ("start={runs: a}", "did you mean 'run'"),
    ],
)
def test_invalid_starts_raise_with_their_path(override, expected):
    with pytest.raises(RecipeError, match="start") as error:
        load("digits/ff", [override])
    assert expected in str(error.value)
