"""The table of the project's README: a few complete runs beside their papers, their twins and their cost."""

from __future__ import annotations

from choice import Choice
from kept import HERE, duration, percent
from steps import pair_of
from tables import head, line, twin_of

from ffcore.recipe.load import load

README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- written by docs/results/write.py -->\n", "<!-- end -->\n"
SHOWN = {
    "mnist/ff": "Forward-Forward, Hinton's recipe",
    "mnist/ff-fast": "the same network in a fifth of the epochs",
    "mnist/ff-2000x4": "the largest of the paper",
    "mnist/predsim": "local classifier and similarity, jittered images",
    "cifar10/fast trainer.precision=bf16-mixed": "VGG with local classifiers",
    "cifar10/softhebb": "layers without labels or gradients, a linear readout",
    "cifar10/channel-fast": "channels that learn their classes",
}


def table(choice: Choice) -> str:
    """Returns the table: runs with the epochs of their recipes, not those with more.

    Raises:
        ValueError: no complete run of a recipe is kept.
    """
    text = head("recipe | what | test error %: | by backprop %: | paper %: | time: | a step:")
    for variant, what in SHOWN.items():
        group = choice.best(variant, load(variant.partition(" ")[0]).trainer.max_epochs)
        if group is None:
            raise ValueError(f"README.md: no run of {variant} with all epochs of the recipe is kept")
        pair = pair_of(group.name)
        text += line(
            [
                f"`{group.name}`",
                what,
                percent(group.errors("test")),
                twin_of(group, choice).strip("*"),
                f"{group.paper['test_error']:g}" if group.paper else "–",
                duration(group.fastest["train_s"]),
                f"{pair['ms'][0] / pair['ms'][1]:.1f} ×" if pair else "–",
            ]
        )
    return text


def readme(choice: Choice) -> str:
    """Returns the project's README with today's table."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(choice) + END + rest.partition(END)[2]
