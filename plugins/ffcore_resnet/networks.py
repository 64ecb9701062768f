"""Named networks of local convolutions. Every convolution is a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from ffcore.interfaces import Items
from ffcore.options import BelowOne, Size
from ffcore_resnet.convolution import Init

Item = Mapping[str, Any]

_SILENT: Item = {"goodness": None, "objective": None, "penalties": {}, "handoff": None, "rule": None}
"""Block settings of items without parameters, such as pooling."""


def _first(normalise: bool) -> list[Item]:
    return [{"kind": "layer-norm", "name": "input", "block": _SILENT}] if normalise else []


class ResNet17(Items):
    """17 local 3×3 convolutions: a stem and four residual stages of four.

    Sun et al., ICLR 2025 (DeeperForward), and arXiv:2606.09928. Shortcuts have no parameters. The output of a
    stage's second convolution is added to the stage's input (average-pooled if the first has a stride of 2).
    The output of the fourth is concatenated with the input of the third, so a stage returns twice its width.
    The last stage has no concatenation.

    Args:
        widths: channels of each stage, each twice the one before; (100, 200, 400, 800) in the papers.
        dropout: dropout of every convolution.
        init: initial weights of every convolution.
        normalise: whether to apply layer norm to the input.
        shortcut: where a concatenated shortcut is among the channels: first, or last, as in the authors' code
            and in weights trained by it.

    Raises:
        ValueError: when a width is not twice the one before.
    """

    examples = ({"widths": [4, 8]}, {"widths": [4, 8], "shortcut": "last"})

    def __init__(
        self,
        widths: Annotated[tuple[Size, ...], Field(min_length=1)] = (100, 200, 400, 800),
        dropout: BelowOne = 0.0,
        init: Init = "uniform",
        normalise: bool = True,
        shortcut: Literal["first", "last"] = "first",
    ) -> None:
        right = tuple(widths[0] * 2**stage for stage in range(len(widths)))
        if tuple(widths) != right:
            raise ValueError(
                f"widths: {list(widths)}: each should be twice the one before, such as {list(right)}"
            )
        self.widths = widths
        self.dropout = dropout
        self.init = init
        self.normalise = normalise
        self.merge = "concat" if shortcut == "first" else "concat-last"

    def items(self) -> Sequence[Item]:
        """See `Items.items`."""
        listed = [*_first(self.normalise), self._conv("stem", self.widths[0])]
        for stage, width in enumerate(self.widths, start=1):
            names = [f"stage{stage}-{i}" for i in range(1, 5)]
            pair = [self._conv(names[0], width, 1 if stage == 1 else 2), self._conv(names[1], width)]
            listed.append({"kind": "residual", "merge": "add", "name": f"stage{stage}-add", "items": pair})
            pair = [self._conv(name, width) for name in names[2:]]
            if stage < len(self.widths):
                merged = {"kind": "residual", "merge": self.merge, "name": f"stage{stage}-concat"}
                listed.append({**merged, "items": pair})
            else:
                listed += pair
        return listed

    def _conv(self, name: str, channels: int, stride: int = 1) -> Item:
        shape = {"channels": channels, "stride": stride, "dropout": self.dropout, "init": self.init}
        return {"kind": "conv", "name": name, **shape}


class _Plain(Items):
    """Groups of convolutions with average pooling by 2 between the groups."""

    def __init__(
        self, groups: Sequence[Sequence[tuple[int, int]]], dropout: float, init: Init, normalise: bool
    ) -> None:
        self.groups = groups
        self.dropout = dropout
        self.init = init
        self.normalise = normalise

    def items(self) -> Sequence[Item]:
        """See `Items.items`."""
        listed, number = _first(self.normalise), 0
        for i, group in enumerate(self.groups):
            if i:
                listed.append({"kind": "average-pool", "name": f"pool{i}", "block": _SILENT})
            for channels, kernel in group:
                number += 1
                shape = {"channels": channels, "kernel": kernel, "dropout": self.dropout, "init": self.init}
                listed.append({"kind": "conv", "name": f"conv{number}", **shape})
        return listed


class TinyCNN(_Plain):
    """Four convolutions: 5×5, pool, 5×5, pool, 3×3, 3×3 (arXiv:2606.09928).

    Args:
        widths: channels of the convolutions; (100, 200, 400, 400) in the paper.
        dropout: dropout of every convolution.
        init: initial weights of every convolution.
        normalise: whether to apply layer norm to the input.
    """

    def __init__(
        self,
        widths: tuple[Size, Size, Size, Size] = (100, 200, 400, 400),
        dropout: BelowOne = 0.0,
        init: Init = "uniform",
        normalise: bool = True,
    ) -> None:
        a, b, c, d = widths
        super().__init__([[(a, 5)], [(b, 5)], [(c, 3), (d, 3)]], dropout, init, normalise)


class VGG13(_Plain):
    """13 convolutions of 3×3 in five groups with pooling (arXiv:2606.09928).

    The groups have 2, 3, 3, 3 and 2 convolutions.

    Args:
        widths: channels of the groups; (70, 140, 280, 560, 560) in the paper.
        dropout: dropout of every convolution.
        init: initial weights of every convolution.
        normalise: whether to apply layer norm to the input.
    """

    def __init__(
        self,
        widths: tuple[Size, Size, Size, Size, Size] = (70, 140, 280, 560, 560),
        dropout: BelowOne = 0.0,
        init: Init = "uniform",
        normalise: bool = True,
    ) -> None:
        counts = (2, 3, 3, 3, 2)
        groups = [[(width, 3)] * count for width, count in zip(widths, counts, strict=True)]
        super().__init__(groups, dropout, init, normalise)
