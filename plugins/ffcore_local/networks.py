"""The VGG networks of local error signals. Every convolution and the dense layer are blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ffcore.interfaces import Items

Item = Mapping[str, Any]
Width = Annotated[float, Field(gt=0, le=16)]

_SILENT: Item = {"goodness": None, "objective": None, "penalties": {}, "handoff": None, "rule": None}
"""Block settings of pooling, which has no parameters."""


class _VGG(Items):
    """3×3 convolutions with batch norm, max pooling by 2 between them, and a dense layer."""

    layers: ClassVar[Sequence[int | str]]

    def __init__(self, width: Width = 1.0, units: Annotated[int, Field(ge=0, le=10**6)] = 1024) -> None:
        self.width = width
        self.units = units

    def items(self) -> Sequence[Item]:
        """See `Items.items`."""
        listed: list[Item] = []
        convs = pools = 0
        for layer in self.layers:
            if isinstance(layer, str):
                pools += 1
                listed.append({"kind": "max-pool", "name": f"pool{pools}", "block": _SILENT})
            else:
                convs += 1
                channels = max(1, round(layer * self.width))
                listed.append({"kind": "conv-bn", "name": f"conv{convs}", "channels": channels})
        if self.units:
            listed.append({"kind": "dense-bn", "name": "dense", "units": self.units})
        return listed


class VGG8b(_VGG):
    """Six convolutions, 128 to 512 channels, four poolings, and a dense layer of 1024.

    Nøkland and Eidnes 2019, arXiv:1901.06656. The output layer is the algorithm's.

    Args:
        width: factor on the channels; 2 and 3 in the paper's larger networks.
        units: units of the dense layer; 0 for none.
    """

    layers: ClassVar = (128, 256, "M", 256, 512, "M", 512, "M", 512, "M")


class VGG11b(_VGG):
    """Nine convolutions, 128 to 512 channels, four poolings, and a dense layer of 1024.

    Nøkland and Eidnes 2019, arXiv:1901.06656. The output layer is the algorithm's.

    Args:
        width: factor on the channels; 2 and 3 in the paper's larger networks.
        units: units of the dense layer; 0 for none.
    """

    layers: ClassVar = (128, 128, 128, 256, "M", 256, 512, "M", 512, 512, "M", 512, "M")
