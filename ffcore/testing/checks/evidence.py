"""Checks of layer contributions and readouts.

L sources; N samples; K classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.testing import assert_close

from ffcore.interfaces import Context, LayerContribution, Readout, Source
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, N, Placed, numbers, place, single

SOURCES = (*(Source(f"block{i}", "block") for i in (1, 2, 3)), Source("readout", "readout"))
HANDOFFS = ((5,), (2, 3, 3))
NEEDS = {"train.loss", "val.loss", "val.scores"}


def place_contribution(example: Example, seed: int = 0) -> Placed:
    """Set up a contribution for three blocks and a readout, after its observations."""
    contribution = _fed(example, seed)
    scores = numbers(len(SOURCES), N, K)
    return Placed(contribution, lambda: contribution.combine(scores))


def place_readout(example: Example, seed: int = 0) -> Placed:
    """Set up a readout of two blocks."""
    readout, names = _connected(example, seed)
    seen = [numbers(N, *HANDOFFS[int(name[-1]) - 1]) for name in names]
    return Placed(readout, lambda: readout(*seen))


def check_contribution_needs_what_the_engine_has(example: Example) -> None:
    """All names in ``needs`` are known."""
    unknown = sorted(example.entry.load().needs - NEEDS)
    assert not unknown, f"needs {', '.join(unknown)}; there are {', '.join(sorted(NEEDS))}"


def check_contribution_gives_a_score_a_class(example: Example) -> None:
    """Scores have shape (N, K) and are finite."""
    combined = _fed(example).combine(numbers(len(SOURCES), N, K))
    assert tuple(combined.shape) == (N, K), f"scores are {tuple(combined.shape)}, not {(N, K)}"
    assert combined.isfinite().all(), "a score is not finite"


def check_contribution_does_not_mind_the_order_of_samples(example: Example) -> None:
    """A sample's scores depend only on its own evidence."""
    contribution, scores = _fed(example), numbers(len(SOURCES), N, K)
    assert_close(contribution.combine(scores.flip(1)), contribution.combine(scores).flip(0))


def check_contribution_leaves_evidence_alone(example: Example) -> None:
    """The evidence is not changed in place, since the accuracy of each source is computed from it."""
    contribution, scores = _fed(example), numbers(len(SOURCES), N, K)
    before = scores.clone()
    contribution.combine(scores)
    assert_close(scores, before, rtol=0, atol=0, msg="the evidence has changed")


def check_readout_connects_to_blocks_that_exist(example: Example) -> None:
    """`setup` returns names of blocks, each once."""
    _, names = _connected(example)
    known = [f"block{i + 1}" for i in range(len(HANDOFFS))]
    assert names, "it does not read any block"
    assert set(names) <= set(known), f"reads {names}, there are {known}"
    assert len(set(names)) == len(names), f"reads a block twice: {names}"


def check_readout_gives_a_logit_a_class(example: Example) -> None:
    """Logits have shape (R, K), and the loss is a scalar with a gradient for every parameter."""
    placed = place_readout(example)
    readout, logits = placed.part, placed.use()
    assert isinstance(readout, Readout)
    assert tuple(logits.shape) == (N, K), f"logits are {tuple(logits.shape)}, not {(N, K)}"
    loss = readout.loss(logits, single(torch.zeros(N, 1)))
    assert loss.shape == (), "the loss is not a scalar"
    assert loss.isfinite(), "the loss is not finite"
    trainable = [p for p in readout.parameters() if p.requires_grad]
    if trainable:
        torch.autograd.grad(loss, trainable)


def _fed(example: Example, seed: int = 0) -> LayerContribution:
    """Return a contribution after its observations, in the order of the engine: scores, then losses."""
    contribution: LayerContribution = example.make(seed=seed)
    readouts = tuple(source.name for source in SOURCES if source.role == "readout")
    contribution.setup(Context((1, 8, 8), K, blocks=3, readouts=readouts, sources=SOURCES))
    losses = torch.tensor([0.9, 0.5, 0.7, math.nan])  # the readout has none
    if "train.loss" in contribution.needs:
        contribution.observe("train", losses, None, None)
    if "val.scores" in contribution.needs:
        # Three observations of different evidence.
        for batch in range(3):
            scores = numbers(len(SOURCES), 4 * N, K, seed=batch)
            contribution.observe("val", None, scores, scores.sum(0).argmax(1))
    if "val.loss" in contribution.needs:
        contribution.observe("val", losses + 0.1, None, None)
    return contribution


def _connected(example: Example, seed: int = 0) -> tuple[Readout, tuple[str, ...]]:
    readout: Readout = example.make(seed=seed)
    blocks = [place((7,), f"block{i + 1}", i, handoff_shape=shape) for i, shape in enumerate(HANDOFFS)]
    context = Context((K,), K, name="readout", depth=2, blocks=2, features=tuple(blocks))
    names: Any = readout.setup(context)
    assert isinstance(names, tuple | list), f"setup returns {names!r}, not the names of the blocks to read"
    return readout, tuple(names)
