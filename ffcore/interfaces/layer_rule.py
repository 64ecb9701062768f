"""The base class of rules that read the input of a block's affine layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces.affine import Layer, inputs_of, layer_of
from ffcore.interfaces.network import Block, Handoff
from ffcore.interfaces.rule import Call, LearningRule
from ffcore.interfaces.views import Out, Views, dense


class LayerRule(LearningRule):
    """Runs a block without a graph, and notes what its only affine layer reads.

    See `ffcore.interfaces.affine`.

    Args:
        of: the part that holds the layer: the "body" or the "goodness".
    """

    alone: ClassVar[bool] = True

    def __init__(self, of: Literal["body", "goodness"] = "body") -> None:
        super().__init__()
        self.of = of
        self._noted: tuple[Layer, list[Tensor]] | None = None  # of the call between `run` and `learn`

    def layer(self, block: Block) -> Layer:
        """Return the layer.

        Raises:
            UserError: when the part does not have one, or the block is compiled, which hides its input.
        """
        where = f"block {block.name}: rule {type(self).__name__}"
        part: nn.Module | None = block.body if self.of == "body" else block.goodness
        if part is None:
            raise UserError(f"{where}: the block has no goodness")
        if getattr(block, "compiled", False):
            raise UserError(f"{where}: reads the input of a layer, so the block must not be compiled")
        try:
            return layer_of(part)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run the block, and note the input of its layer."""
        layer = self.layer(block)
        with torch.no_grad(), inputs_of(layer) as seen:
            out = block.make(tuple(map(dense, inputs)), views, handoff=handoff)
        self._noted = layer, seen
        return out

    def noted(self, window: Sequence[Call], views: Views) -> tuple[Layer, Tensor]:
        """Return the layer and its input, (R, …), and forget them.

        Raises:
            UserError: when the layer has run several times, or it does not read a row for each row of the
                pass.
        """
        assert self._noted is not None, "a pass calls run first"
        (layer, seen), self._noted = self._noted, None
        where = f"block {window[-1][0].name}: rule {type(self).__name__}"
        if len(seen) != 1:
            raise UserError(
                f"{where}: its layer ran {len(seen)} times in a pass; once is needed, without per_view"
            )
        rows = sum(views.sizes)
        if seen[0].shape[0] != rows:
            given = f"its layer reads {seen[0].shape[0]} rows of a pass of {rows}"
            raise UserError(f"{where}: {given}; keep a row for each sample")
        return layer, seen[0]
