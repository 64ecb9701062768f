"""The algorithm of predictive Forward-Forward.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from torch import Tensor

from ffcore.interfaces import NegativeData, Network, Source
from ffcore_ff.algorithm import ForwardForward
from ffcore_pff.circuit import Predictive


class PredictiveForwardForward(ForwardForward):
    """Forward-Forward on a `Predictive` circuit, whose classifier is a further source of evidence.

    Ororbia and Mali 2023, arXiv:2301.01452. A class's evidence is the goodness of each layer for the sample
    under that class, a mean over the circuit's middle steps; and the classifier's logit after one bottom-up
    pass, fast but less right.

    Args:
        negatives: where negative data comes from.
        rows: how many labelled inputs predicting sends through the network at once.
    """

    def __init__(self, negatives: NegativeData, rows: int = 2000) -> None:
        super().__init__(None, negatives, rows)

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when the network is no predictive circuit.
        """
        if len(net.circuits) != 1 or not isinstance(net.circuits[0], Predictive):
            raise ValueError(
                "it teaches a circuit of kind predictive: network: [{kind: predictive, units: […]}]"
            )
        super().connect(net)

    def circuit(self, net: Network) -> Predictive:
        """The network's one circuit."""
        (circuit,) = net.circuits
        assert isinstance(circuit, Predictive), "others were refused in connect"
        return circuit

    def sources(self, net: Network) -> tuple[Source, ...]:
        """The layers, the classifier, then any readouts."""
        layers = [source for source in net.sources if source.kind == "block"]
        return (*layers, Source("classifier", "readout"), *net.sources[len(layers) :])

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Goodness of each layer for the samples under each label, and the classifier's logits, (N, K)."""
        return [*super().evidence(x, net), self.circuit(net).logits(x)]
