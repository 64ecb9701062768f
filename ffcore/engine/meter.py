"""Running metrics of every block, accumulated on the device.

metric = Σ_b n_b v_b / Σ_b n_b      for batches b with n_b samples and mean v_b
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ffcore.interfaces import ALONE, Block, Out, Ranks, Views, ranks
from ffcore.local import LocalBlock


class Divergence(NamedTuple):
    """The block whose loss was non-finite first, and the step at which it was, from 1."""

    block: str
    step: int


class Meter:
    """Means over samples since the last `reset`: losses of every block, and energies of each view of a pair.

    It is a network's ``record`` and one of its observers. Only `read`, `divergence` and `gather` wait for the
    device.

    Args:
        names: names of all blocks and readouts.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._slots = {name: slot for slot, name in enumerate(names)}
        self.reset()

    def reset(self, step: int = 0) -> None:
        """Begin new sums; ``step`` is the number of steps of the run so far."""
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._samples: dict[str, int] = {}
        self._pairs: dict[str, int] = {}
        self._roles: dict[str, tuple[str, ...]] = {}
        self._before, self._steps = step, 0
        self._losses: Tensor | None = None  # (slots,) sums of losses
        self._finite: Tensor | None = None  # (slots,) number of steps after which the sum was finite

    def record(self, block: Block, terms: Mapping[str, Tensor], samples: int) -> None:
        """Add the terms of a block's loss, which are means over ``samples``.

        The objective, or without one the sum of the terms, is the block's "loss".
        """
        name = cast(LocalBlock, block).name
        self._samples[name] = self._samples.get(name, 0) + samples
        if terms and "objective" not in terms:
            self._loss(name, next(iter(terms.values()))).add_(
                torch.stack([*terms.values()]).detach().sum(), alpha=samples
            )
        for term, value in terms.items():
            if term == "objective":
                self._loss(name, value).add_(value.detach(), alpha=samples)
            else:
                self._add(name, term, value.detach(), samples)

    def step(self) -> None:
        """Count a step, and the blocks whose losses are still finite. A non-finite sum stays non-finite."""
        self._steps += 1
        if self._losses is not None and self._finite is not None:
            self._finite += self._losses.isfinite()

    def __call__(self, block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        """Add the energies of a pass with two views of the same size; see `ffcore.interfaces.Observer`."""
        goodness = out.goodness
        pair = len(views.sizes) == 2 and views.sizes[0] == views.sizes[1]
        if not pair or goodness is None or goodness.dim() != 1 or ranks().idle:
            return
        name = cast(LocalBlock, block).name
        self._roles[name] = views.roles
        self._pairs[name] = self._pairs.get(name, 0) + views.sizes[0]
        self._add(name, "goodness", goodness.detach().view(2, -1).sum(1))

    def gather(self, ranks: Ranks) -> None:
        """Replace the sums by those over all ranks. Call `reset` before adding more."""
        if ranks.world > 1:
            device = self._losses.device if self._losses is not None else "cpu"
            self.load_state_dict(self.merged(ranks.objects(self.state_dict())), device)

    def read(self) -> dict[str, dict[str, float]]:
        """Return the means by block and metric.

        ``loss`` is the objective, each penalty has its own name, and each view's goodness has that of its
        role. ``separation`` is the first view's goodness minus the second's.
        """
        metrics: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            of_block = metrics[name] = {}
            for what, total in sums.items():
                if what == "goodness":
                    pair = (total / self._pairs[name]).tolist()
                    of_block |= dict(zip(self._roles[name], pair, strict=True))
                    of_block["separation"] = pair[0] - pair[1]
                else:
                    of_block[what] = float(total) / max(1, self._samples[name])  # 0: no target so far
        return metrics

    def divergence(self, ranks: Ranks = ALONE) -> Divergence | None:
        """Return the block whose loss was non-finite first on any rank since the last `reset`, if any was."""
        own = None if self._finite is None else self._finite.tolist()
        counts = [each for each in ranks.objects(own) if each is not None]
        if not counts or not self._steps:
            return None
        finite = [min(of_ranks) for of_ranks in zip(*counts, strict=True)]
        name = min(self._slots, key=lambda name: finite[self._slots[name]])
        steps = int(finite[self._slots[name]])
        return None if steps >= self._steps else Divergence(name, self._before + steps + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return all sums, for a checkpoint within an epoch."""
        return {
            "sums": {name: {what: t.clone() for what, t in of.items()} for name, of in self._sums.items()},
            "samples": dict(self._samples),
            "pairs": dict(self._pairs),
            "roles": {name: list(roles) for name, roles in self._roles.items()},
            "steps": [self._before, self._steps],
            "finite": None if self._finite is None else self._finite.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Restore the sums of a checkpoint."""
        self.reset()
        self._samples, self._pairs = dict(state["samples"]), dict(state["pairs"])
        self._roles = {name: tuple(roles) for name, roles in state["roles"].items()}
        self._before, self._steps = state["steps"]
        for name, of in state["sums"].items():
            for what, value in of.items():
                if what == "loss":
                    self._loss(name, value.to(device)).copy_(value)
                else:
                    self._add(name, what, value.to(device))
        if state["finite"] is not None and self._finite is not None:
            self._finite.copy_(state["finite"])

    @staticmethod
    def merged(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the state with the sums of several ranks' states."""
        finite = [state["finite"] for state in states if state["finite"] is not None]
        return {
            "sums": _joined([s["sums"] for s in states], lambda a, b: _joined([a, b], torch.add)),
            "samples": _joined([s["samples"] for s in states], int.__add__),
            "pairs": _joined([s["pairs"] for s in states], int.__add__),
            "roles": _joined([s["roles"] for s in states], lambda a, b: a),
            "steps": states[0]["steps"],
            "finite": torch.stack(finite).amin(0) if finite else None,
        }

    @staticmethod
    def only(state: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """Return the state with the sums of these blocks only."""
        by_block = {
            part: {name: value for name, value in state[part].items() if name in names}
            for part in ("sums", "samples", "pairs", "roles")
        }
        return {**state, **by_block}

    def _loss(self, name: str, like: Tensor) -> Tensor:
        """Return the sum of a block's losses, a view of one vector: `step` then needs one operation."""
        sums = self._sums.setdefault(name, {})
        if "loss" not in sums:
            if self._losses is None:
                self._losses = torch.zeros(len(self._slots), dtype=torch.float64, device=like.device)
                self._finite = torch.zeros(len(self._slots), dtype=torch.int64, device=like.device)
                self._finite += self._steps
            sums["loss"] = self._losses[self._slots[name]]
        return sums["loss"]

    def _add(self, name: str, what: str, value: Tensor, times: int = 1) -> None:
        sums = self._sums.setdefault(name, {})
        if what not in sums:
            dtype = torch.promote_types(value.dtype, torch.float32)
            sums[what] = torch.zeros_like(value, dtype=dtype)  # bfloat16 sums would soon stop growing
        sums[what].add_(value, alpha=times)


def _joined(parts: Sequence[Mapping[Any, Any]], add: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """Merge mappings; values of the same key are added."""
    joined: dict[Any, Any] = {}
    for part in parts:
        for key, value in part.items():
            joined[key] = add(joined[key], value) if key in joined else value
    return joined
