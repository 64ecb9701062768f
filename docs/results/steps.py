"""The section of README.md on what a learning step costs, from the output of tests/bench/costs.py."""

from __future__ import annotations

import json
from typing import Any

from choice import Choice
from kept import COSTS, costs, twins
from tables import head, line

from ffcore.recipe.load import load


def pair_of(name: str) -> dict[str, Any] | None:
    """Returns the measured costs of a recipe's step and its twin's, if they are kept."""
    return next((pair for pair in costs() if pair["loaded"][0][0] == name), None)


def ratio(choice: Choice, pair: dict[str, Any], what: str) -> str:
    """Returns the ratio of a recipe's time to its twin's: ratio of step times × ratio of epochs."""
    (own, _), (twin, _) = pair["loaded"]
    if twins().get(own) != twin:
        return "–"
    if what == "all":
        epochs: list[tuple[float, float]] = [(load(name).trainer.max_epochs,) * 2 for name in (own, twin)]
    else:
        reached = [group and group.reached() for group in (choice.best(own), choice.best(twin))]
        epochs = [found[1] for found in reached if found]
    if len(epochs) < 2:
        return "–"
    (least, most), (their_least, their_most) = epochs
    step = pair["ms"][0] / pair["ms"][1]
    low, high = (f"{step * share:.1f}" for share in (least / their_most, most / their_least))
    return f"{low} ×" if low == high else f"{low} to {high} ×"


def what_it_costs(choice: Choice) -> str:
    """Returns the section on the cost of learning compared with backprop."""
    text = head(
        "recipe | backprop on | batch size: | ms per batch: | by backprop: | ratio: | "
        "of multiplications: | time to the same accuracy: | time of all epochs: | "
        "kept for backward: | by backprop:"
    )
    for pair in costs():
        (ms, other), (kept, other_kept) = pair["ms"], pair["kept_mb"]
        (low, high), (work, least) = pair["quartiles"], pair["gflop"]
        (own, _), (twin, overrides) = pair["loaded"]
        text += line(
            [
                f"`{own}`" + " as it was" * pair["changed"],
                f"`{' '.join([twin, *overrides])}`",
                str(pair["batch"]),
                *(f"{ms:.1f}", f"{other:.1f}", f"**{ms / other:.2f} ×** ({low:.2f} to {high:.2f})"),
                f"{work / least:.2f} ×",
                *(ratio(choice, pair, what) for what in ("reached", "all")),
                *(f"{kept:.1f} MB", f"{other_kept:.1f} MB"),
            ]
        )
    measured = json.loads(COSTS.read_text(encoding="utf-8"))
    return f"""## What it costs

The algorithm's step on a batch, and the peak memory that autograd keeps for backward, compared with backprop
on layers of the same widths with the same batch size. Medians of alternating rounds in one process, and the
quartiles of their ratio, on {measured["machine"]}, at {measured["commit"][:7]} (`python tests/bench/costs.py
--write docs/results/costs.json`).

- **of multiplications**: the ratio of the multiplications in the matrix products and convolutions of the
  two steps, as torch counts them. PFF and the recurrent network have connections that their plain networks
  lack.
- **time to the same accuracy**: the ratio of step times, multiplied by the ratio of epochs until the
  accuracy of the column "reached" in [details](details.md); a range if one of them validates only after
  several epochs.
- **time of all epochs**: the ratio of step times, multiplied by the ratio of the two recipes' epochs,
  whether they ran or not. An audit (Spyra and Dzwinel, PPAM 2026) found 4.1 to 7.4 times backprop's
  training time for Forward-Forward, in complete runs: compare it with this column.

On 4×4 feature maps torch's weight gradient is slow on a CPU. ffcore's own step avoids it and backprop does
not, which favours `cifar10/channel-small`. This machine does not report energy.

{text}
"""
