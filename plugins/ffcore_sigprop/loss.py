"""Losses of signal propagation, with one target a class in place of one a sample.

With one target m for each of N samples, similarities S (N, N) of samples and targets, and T⁰ (N, N) of the
targets that enter the layer:

    v1    L = mean_n −ln softmax_k(S_nk) at k = y_n                  k over the K classes
    v9    L = mean_n Σ_m −M_nm ln softmax_m(S_nm)                    M_nm = 1 if T⁰_nm is the row's maximum
    v14   L = mean_n −ln softmax_m(S_nm) at the m of the maximum     of equal ones the first
    v15   as v9, with M_nm = 1 for the `top` largest T⁰_nm of a row; of equal ones lower classes first

Targets of one class are equal, so S_nm = s_n,y(m), and with n_c samples of class c in the batch

    Σ_m exp S_nm = Σ_c n_c exp s_nc                                  =: Z_n
    L = mean_n Σ_c w_nc (ln Z_n − s_nc)                              w_nc the number of marked m of class c

N samples; K classes; s (N, K) the goodness `signal-similarity`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, LocalLoss, Out, Views
from ffcore.options import Size

Version = Literal["v1", "v9", "v14", "v15"]


class SignalLoss(LocalLoss):
    """Makes a sample similar to the targets that entered the layer nearest to its own.

    Kohan, Rietman and Siegelmann 2023, arXiv:2204.01723; the names of the versions are those of the authors'
    code: v1 "input label direct", v9 "input target max all", v14 "max rand", v15 "topk".

    Args:
        version: the formula, see this module. v9 is the authors' default.
        top: number of marked targets in v15.
        weight: factor of the loss.
    """

    reads_inputs = True
    reads_classes: ClassVar[bool] = True
    example_recipe: ClassVar[Mapping[str, Any]] = {"block": {"goodness": "signal-similarity"}}
    examples = tuple({"version": version} for version in ("v1", "v14", "v15"))

    def __init__(self, version: Version = "v9", top: Size = 4, weight: float = 1.0) -> None:
        super().__init__()
        self.version, self.top, self.weight = version, top, weight
        self.couples_samples = version != "v1"  # the others count the samples of each class in the batch

    def setup(self, context: Context) -> None:
        """Check the goodness.

        Raises:
            ValueError: when it is not one of classes.
        """
        if context.goodness is None or context.goodness.form != "class":
            raise ValueError("loss signal: needs the goodness signal-similarity")
        self.classes = context.classes

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        assert out.goodness is not None, "set up with a goodness"
        assert views.y is not None, "classes are learned from labelled samples"
        # bfloat16 would make equal what is not, and count to 256
        with torch.autocast(out.goodness.device.type, enabled=False):
            return {"objective": self.weight * self._of(out, views, views.y)}

    def _of(self, out: Out, views: Views, y: Tensor) -> Tensor:
        assert out.goodness is not None
        s = _full(out.goodness[: views.samples])
        if self.version == "v1":
            return F.cross_entropy(s, y)
        counts = torch.bincount(y, minlength=self.classes).to(s.dtype)
        # every rank has the same targets: the first K of the view are all
        targets = views.of(out.inputs[0].detach(), "targets")[: self.classes].flatten(1).to(s.dtype)
        weights = self._marked(targets @ targets.T, counts)[y]
        of_all = torch.logsumexp(s + counts.log(), 1, keepdim=True)  # a class without samples has −∞
        return (weights * (of_all - s)).sum(1).mean()

    def _marked(self, similar: Tensor, counts: Tensor) -> Tensor:
        """Return w (K, K) of a sample of each class, of T⁰ (K, K) and the counts (K,)."""
        known = similar.masked_fill(counts == 0, -torch.inf)
        if self.version == "v9":
            return (known == known.amax(1, keepdim=True)) * counts
        if self.version == "v14":
            return F.one_hot(known.argmax(1), self.classes).to(counts.dtype)
        order = known.argsort(dim=1, descending=True, stable=True)
        sorted_counts = counts[order]
        before = sorted_counts.cumsum(1) - sorted_counts
        taken = (self.top - before).clamp_min(0).minimum(sorted_counts)
        return torch.zeros_like(similar).scatter(1, order, taken)


def _full(t: Tensor) -> Tensor:
    return t.to(torch.promote_types(t.dtype, torch.float32))
