"""Layer collaboration: a layer learns whether the layers together have a high goodness.

    Γ_l = γ Σ_{j ≠ l} G_j                           a constant: no gradient reaches the other layers
    L   = mean softplus(−(G⁺ + Γ⁺ − θ)/T) + mean softplus((G⁻ + Γ⁻ − θ)/T)

R rows: N positives, then N negatives; G (R,) of the layer, G_j (R,) of the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Batch, Context, Network, Views
from ffcore.options import Fraction, Positive
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.objectives import Logistic

TOGETHER = "goodness/"
"""Before the name of a block in ``Views.extra``: its goodness (R,) before the step."""


class LayerCollaboration(ForwardForward):
    """Forward-Forward with a pass before every step, which measures the goodness of all layers.

    Lorberbom, Gat, Adi, Schwing and Hazan 2024, arXiv:2305.12393. The blocks have the objective
    `collaborative`. The further pass, in evaluation mode, costs as much as half of a step; with ``of:
    previous`` it is not needed, and the algorithm is `forward-forward`.
    """

    whole_network = "a layer needs the goodness of all layers before it learns"
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "block": {"goodness": "sum-squares", "objective": {"kind": "collaborative", "of": "all"}}
    }

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when no block reads the goodness of all layers.
        """
        super().connect(net)
        blocks = (cast(nn.Module, block) for block in net.blocks)
        parts = (part for block in blocks for part in block.modules())  # `weighted` contains an objective
        if not any(isinstance(each, Collaborative) and each.of == "all" for each in parts):
            raise ValueError(
                "layer-collaboration: no block reads the goodness of all layers: set block.objective to "
                "{kind: collaborative, of: all}, or use the algorithm forward-forward"
            )

    def views(self, batch: Batch, net: Network) -> Views:
        """Return N positives, then N negatives, with the goodness of every block."""
        views = super().views(batch, net)
        seen = net.outputs(replace(views, upstream=[]))
        goodness = {TOGETHER + name: out.goodness for name, out in seen.items() if out.goodness is not None}
        return replace(views, extra={**views.extra, **goodness})


class Collaborative(Logistic):
    """Logistic loss of a layer's goodness plus a share of that of the other layers.

    Lorberbom et al. 2024, arXiv:2305.12393. A γ of 0 is `logistic`. Circuits whose layers take turns, such as
    `recurrent`, refuse the previous layers.

    Args:
        gamma: γ, the share of the other layers.
        of: the "previous" layers of the same pass; or "all" others, with the algorithm `layer-collaboration`.
        threshold: θ, as for `logistic`. It is compared with the sum over layers.
        temperature: T.

    Raises:
        UserError: when the goodness of the other layers has not been measured.
    """

    examples = ({"gamma": 0.5, "threshold": 2.0},)

    def __init__(
        self,
        gamma: Fraction = 1.0,
        of: Literal["previous", "all"] = "previous",
        threshold: float | Literal["units"] = "units",
        temperature: Positive = 1.0,
    ) -> None:
        super().__init__(threshold, temperature)
        self.gamma, self.of = gamma, of
        self.reads_upstream = of == "previous"
        self.name = ""

    def setup(self, context: Context) -> None:
        """Compute the threshold, and keep the name of the block."""
        super().setup(context)
        self.name = context.name

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        return super().forward(goodness + self.others(goodness, views), views)

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """(R,) → a scalar, (R,)."""
        return super().with_derivative(goodness + self.others(goodness, views), views)

    def others(self, goodness: Tensor, views: Views) -> Tensor:
        """Return Γ (R,)."""
        if self.of == "previous":
            seen = views.upstream
        else:
            seen = [views.extra[key] for key in views.extra if key.startswith(TOGETHER)]
            own = views.extra.get(TOGETHER + self.name)
            if own is None:
                raise UserError(
                    f"block {self.name}: objective collaborative: the goodness of all layers has not been "
                    "measured; use the algorithm layer-collaboration, or of: previous"
                )
            seen = [*seen, -own]
        return self.gamma * torch.stack([*seen, torch.zeros_like(goodness)]).sum(0)
