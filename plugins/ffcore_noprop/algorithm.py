"""The algorithm of NoProp: every block learns from samples, labels and noise alone.

N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ffcore.interfaces import Algorithm, Batch, Network, Views
from ffcore_noprop.circuit import Denoisers
from ffcore_noprop.denoiser import EXAMPLE


class NoProp(Algorithm):
    """Blocks learn to denoise a label given the sample; no block needs the output of another to learn.

    Li, Teh and Pascanu 2025, arXiv:2503.24322, NoProp-DT. The hypothesis of a sample is its class, whose
    noised one-hot vectors the circuit `denoisers` gives to its blocks. A prediction has no hypothesis: there
    the blocks form a chain, and the last one predicts.
    """

    hypotheses: ClassVar[bool] = True
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "network": [{"kind": "denoisers", "steps": 3, **EXAMPLE}],
        "block": {"goodness": "logits", "loss": "denoising"},
        "readouts": {},
    }

    def __init__(self) -> None:
        super().__init__()

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when the network has no circuit of denoisers.
        """
        if not any(isinstance(circuit, Denoisers) for circuit in net.circuits):
            raise ValueError("noprop: the network has no denoisers: network: [{kind: denoisers, image: […]}]")

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples with their classes as hypotheses."""
        n = batch.y.shape[0]
        return Views(batch.x, ("all",), (n,), y=batch.y, hypothesis=batch.y, rng=batch.random())
