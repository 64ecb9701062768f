"""Write the pages and pictures beside this file, and the table of the project's README.

Run it by ``python docs/results/write.py``. Numbers in tables are never typed by hand: metrics of runs come
from the *.json that keep.py writes here, test errors of papers from the recipes, deviations from the numbered
lists of the plugins' pages, costs from the output of tests/bench/costs.py. surprises.md is the text of "What
surprised us", with names of metrics in braces; numbers from trials that were not kept are typed there and
marked as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import details
import headlines
import pictures
from choice import Choice
from kept import HERE, duration, percent
from steps import pair_of, ratio, what_it_costs
from tables import Sources, again, families, not_run, tasks

INTRODUCTION = """# Results

Test errors of the recipes beside those of their papers and of backpropagation, a table for each family of
local losses. Validation errors, speed, memory, devices, commits and commands of all runs are in
[details](details.md); [how results are kept](../kept-results.md) says where the numbers come from.
`python docs/results/write.py` makes both pages from the stored results of runs.

In **goodness** a block's score of a class is a fixed function of its activity, or a share of its channels:
the block has no classifier, and its activity itself must carry the classes (Forward-Forward, channel
classes, predictive FF). In **local classifier** every block has a classifier, trained or fixed at random,
which reads the block's activity and is thrown away or used to predict; the activity only needs to be
separable by it (pred and predsim, Mono-Forward, scalable FF). No gradient crosses a block in either family,
but the second has more parameters, counted apart as heads, and higher accuracy: never compare a record of
one with a record of the other.

- **test error**: percent of the test split, which was never used to choose anything; ± is the standard
  deviation over seeds. Bold if the recipe ran with all its epochs. Sampling error: at 1.5 % of MNIST's
  10,000 test images one standard error is 0.12 points, at 2 % of the 360 of digits 0.74. One seed is one
  run.
- **by backprop**: of the recipe's twin, a network with layers of the same kinds and widths on the same data
  and batches, but with an optimiser, a number of epochs and a normalisation that suit backpropagation.
- **paper**: the test error that it reports, and how we know it: read in its authors' *text* or *code*, from
  *secondary* sources, or *recalled*. The sources have [a list](#sources-of-the-papers-test-errors).
- **epochs**: epochs run; "of" those of the recipe, or of the paper if these are more; in brackets those of
  the paper, where the recipe has fewer. "Best": the weights of the epoch with the lowest validation error.
  A shorter run is not the first part of the longer one: its learning-rate schedule is complete, scaled to
  its length.
- **time**: of learning, for the fastest seed. The machine did other work as well; for comparisons use
  [what it costs](#what-it-costs).
"""


class Pages:
    """The pages of results."""

    def __init__(self) -> None:
        self.choice = Choice()

    def surprises(self) -> str:
        """Returns the text of surprises.md with the metrics filled in.

        Raises:
            ValueError: a metric does not exist.
        """

        def fill(match: re.Match[str]) -> str:
            name, epochs, what = match.groups()
            pair = pair_of(name)
            if pair is not None and what in ("step", "work"):
                own, other = pair["ms" if what == "step" else "gflop"]
                return f"{own / other:.1f}"
            if pair is not None and what in ("all", "reached"):
                found_ratio = ratio(self.choice, pair, what)
                if found_ratio != "–":
                    return found_ratio.removesuffix(" ×")
            found = self.choice.best(name, int(epochs) if epochs else None)
            if found is None:
                raise ValueError(f"surprises.md: {match[0]}: no unchanged run of {name} is kept")
            if what in ("test", "val"):
                return f"{percent(found.errors(what))} %"
            if what.isdigit() and (errors := found.errors_after(int(what))):
                return f"{percent(errors)} %"
            if what in found["test"]["per_block_accuracy"]:
                return f"{percent(found.alone(what))} %"
            if what == "time":
                return duration(found.fastest["train_s"])
            raise ValueError(f"surprises.md: {match[0]}: there is no such metric")

        words = (HERE / "surprises.md").read_text(encoding="utf-8")
        return re.sub(r"\{([\w/.-]+)(?: in (\d+))? ([\w-]+)\}", fill, words)

    def readme(self) -> str:
        """Returns the page with the main tables."""
        sources = Sources()
        tables = families(self.choice, sources)
        rerun, missing = again(self.choice, sources), not_run(self.choice, sources)
        return f"""{INTRODUCTION}
{pictures.section()}
{tables}## Sources of the papers' test errors

{sources.text()}
## Other targets

Tokens, pixels, labels and real numbers: the measure that selects weights. A lower perplexity and a higher R²
are better. Bold if the recipe ran with all its epochs.

{tasks(self.choice)}
## To be run again

The only runs of these recipes are of an earlier recipe, or of code that was not committed.

{rerun}
## Not run yet

We had no GPU for the larger ones.

{missing}
{what_it_costs(self.choice)}## What surprised us

{self.surprises()}"""

    def files(self) -> Iterable[tuple[str, str]]:
        """Yield name and text of each page."""
        yield "README.md", self.readme()
        yield "details.md", details.page(self.choice)


def main() -> None:
    """Write the pages, the table of the project's README, and the pictures whose curves have changed."""
    pages = Pages()
    headlines.README.write_text(headlines.readme(pages.choice), encoding="utf-8")
    for name, text in pages.files():
        (HERE / name).write_text(text, encoding="utf-8")
    pictures.write(pages.choice)


if __name__ == "__main__":
    main()
