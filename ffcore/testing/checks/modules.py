"""Checks of all components that are modules: their state can be saved, and they are deterministic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.testing import assert_close

from ffcore.testing.checks import (
    algorithms,
    blackboxes,
    circuits,
    evidence,
    goodness,
    inputs,
    layers,
    losses,
    rules,
)
from ffcore.testing.checks import schedules as schedules_
from ffcore.testing.example import Example
from ffcore.testing.scenery import Placed
from ffcore.trust import trusting

PLACES: dict[str, Callable[[Example, int], Placed]] = {
    "algorithm": algorithms.place_algorithm,
    "augmentation": inputs.place_augmentation,
    "blackbox": blackboxes.place_blackbox,
    "body": layers.place_body,
    "circuit": circuits.place_circuit,
    "contribution": evidence.place_contribution,
    "goodness": goodness.place_goodness,
    "handoff": layers.place_handoff,
    "label": inputs.place_label,
    "loss": losses.place_loss,
    "negative": inputs.place_negative,
    "objective": losses.place_objective,
    "penalty": losses.place_penalty,
    "readout": evidence.place_readout,
    "rule": rules.place_rule,
    "schedule": schedules_.place_schedule,
}


def check_module_repeats_itself_in_evaluation(example: Example) -> None:
    """The same input gives the same output, for any global random state."""
    placed = _placed(example)
    once = placed.use()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        assert_close(placed.use(), once, rtol=0, atol=0, msg="the same input gives another output")


def check_module_state_makes_another_one_equal(example: Example) -> None:
    """The ``state_dict`` contains all that the output depends on."""
    # Other weights and random numbers before the state is loaded.
    placed, other = _placed(example, 0), _placed(example, 1)
    with trusting():
        other.part.load_state_dict(placed.part.state_dict())
    assert_close(other.use(), placed.use(), rtol=0, atol=0, msg="its state_dict is incomplete")


def _placed(example: Example, seed: int = 0) -> Placed:
    placed = PLACES[example.entry.noun](example, seed)
    placed.part.eval()
    return placed
