"""What a recipe may say of its start."""

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
def test_it_comes_back_from_a_dump(start, tmp_path):
    assert load("digits/ff").start is None
    recipe = load("digits/ff", [f"start={start}"])
    (tmp_path / "r.yaml").write_text(dump(recipe))
    assert load(str(tmp_path / "r.yaml")) == recipe
    assert recipe.start == StartConfig(**start)


def test_an_override_may_begin_it():
    assert load("digits/ff", ["start.run=runs/a", "start.freeze=[dense1]"]).start == StartConfig(
        run="runs/a", freeze=["dense1"]
    )


def test_the_papers_figure_is_not_that_of_a_warm_start():
    assert load("mnist/ff").paper is not None
    assert load("mnist/ff", ["start.run=runs/a"]).paper is None


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("start.freeze=dense1", "should be 'all' or a list of names"),
        ("start.freeze=[1]", "should be 'all' or a list of names"),
        ("start.blocks=[dense1]", "'blocks' needs a 'run'"),
        ("start.checkpoint=last", "'checkpoint' needs a 'run'"),
        ("start={run: a, blocks: []}", "start.blocks"),
        ("start={run: a, checkpoint: lst}", "start.checkpoint"),
        ("start={runs: a}", "did you mean 'run'"),
    ],
)
def test_what_cannot_be_is_said_with_its_path(override, said):
    with pytest.raises(RecipeError, match="start") as error:
        load("digits/ff", [override])
    assert said in str(error.value)
