"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ffcore.interfaces import Block, Input, LearningRule, Out, Views


class Gradient(LearningRule):
    """One backward through the window on the sum of its blocks' losses, then one step for each block."""

    def learn(
        self, window: Sequence[tuple[Block, tuple[Input, ...], Out]], views: Views
    ) -> Sequence[Mapping[str, Tensor]]:
        """See `ffcore.interfaces.LearningRule.learn`."""
        losses = [block.losses(out, views) for block, _, out in window]
        terms = [term for of_block in losses for term in of_block.values()]
        assert terms, "a window without any loss; the network has checked it"
        total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
        samples = views.samples
        factor = window[-1][0].scale(samples)
        (total if factor == 1.0 else total * factor).backward()  # type: ignore[no-untyped-call]
        for block in dict.fromkeys(block for block, _, _ in window):
            block.update(samples)
        return [{name: term.detach() for name, term in of_block.items()} for of_block in losses]
