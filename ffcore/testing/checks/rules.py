"""Checks of learning rules."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ffcore.interfaces import ALONE, Block, LearningRule
from ffcore.interfaces.goodness import Form
from ffcore.local import LocalNetwork
from ffcore.testing.example import Example
from ffcore.testing.scenery import FEATURES, N, Placed, network, numbers, pair, single, taught

FORMS: tuple[Form, ...] = ("energy", "class")


def place_rule(example: Example, seed: int = 0) -> Placed:
    """Set up a rule in networks; its use returns the weights of two layers after an epoch."""
    rule: LearningRule = example.make(seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of what a rule draws in its setup
        nets = {form: network(form, rule, _units(rule)) for form in FORMS}
    part = nn.ModuleList(block.rule for net in nets.values() for block in net.blocks)

    def use() -> Tensor:
        learned = _learned(rule, nets)
        return torch.cat([p.detach().flatten() for net, _ in learned for p in net.parameters()])

    return Placed(part, use)


def check_rule_moves_every_block(example: Example) -> None:
    """Every block learns, with energies or class goodness. The rule may refuse one form by a ValueError."""
    for net, _ in _learned(example.make()):
        # The same seed gives the initial weights again.
        form = net.blocks[0].goodness.form  # type: ignore[union-attr]
        before = network(form, units=_units(example.make())).blocks
        for block, fresh in zip(net.blocks, before, strict=True):
            pairs = list(zip(block.parameters(), fresh.parameters(), strict=True))
            assert any((now != then).any() for now, then in pairs), f"{block.name} has not learned"
            assert all(now.isfinite().all() for now, _ in pairs), f"{block.name} is not finite"


def check_rule_reports_detached_losses_of_every_block(example: Example) -> None:
    """`learn` returns scalars without a graph, for every block."""
    for net, record in _learned(example.make()):
        names = {getattr(block, "name", "?") for block, _ in record}
        assert names == {block.name for block in net.blocks}, f"only {sorted(names)} are reported"
        for _, terms in record:
            for name, term in terms.items():
                assert term.shape == (), f"{name} is not a scalar"
                assert not term.requires_grad, f"{name} has a graph"


def _units(rule: LearningRule) -> int:
    """Return the units of the layers: K for a rule that solves for the classes."""
    return getattr(rule, "example_units", None) or 8


def _learned(
    rule: LearningRule, nets: Mapping[Form, LocalNetwork] | None = None
) -> list[tuple[LocalNetwork, list[tuple[Block, Mapping[str, Tensor]]]]]:
    """Return a network for each form of goodness that the rule accepts, after an epoch of three batches.

    Args:
        rule: the rule.
        nets: networks with the rule, of which copies learn; None: new ones.
    """
    taken = []
    refused = ""
    for form in FORMS:
        net = network(form, rule, _units(rule)) if nets is None else taught(copy.deepcopy(nets[form]))
        record: list[tuple[Block, Mapping[str, Tensor]]] = []
        net.record = lambda block, terms, samples, record=record: record.append((block, terms))
        try:
            for step in range(3):
                x = numbers(2 * N, FEATURES, seed=step)
                views = pair(x) if form == "energy" else single(x)
                prepared = getattr(rule, "example_views", None)
                net.learn(views if prepared is None else prepared(views, net))
            for block in net.blocks:
                block.rule.finish(block, ALONE)
        except ValueError as error:
            refused = str(error)
            continue
        taken.append((net, record))
    assert taken, f"takes neither energies nor class goodness: {refused}"
    return taken
