"""The algorithm of predictive Forward-Forward.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Batch, Context, NegativeData, Network, Source
from ffcore.options import ByName, Count
from ffcore_ff.algorithm import ForwardForward
from ffcore_pff.circuit import LEARNS, Predictive
from ffcore_pff.mixture import Mixture, refuse_few
from ffcore_pff.quality import Judge, nearest

SHOWN = 10
"""Number of reconstructions, and of samples of each class, that a run stores for its figures."""

JUDGED = 100
"""Number of samples of each class whose quality is measured."""


class PredictiveForwardForward(ForwardForward):
    """Forward-Forward on a `Predictive` circuit, which also learns to generate.

    Ororbia and Mali 2023, arXiv:2301.01452. The evidence of a class is the goodness of each layer for the
    sample with that class as its hypothesis, a mean over the circuit's middle steps; and the classifier's
    logit after one bottom-up pass, which is faster. Inputs have to be images in [0, 1], not standardised.

    Args:
        negatives: makes the negatives.
        rows: maximum number of labelled inputs in one pass of a prediction.
        components: number of Gaussians in a mixture, which is fitted when a run ends.
        mixture: "class": a mixture for each class, so that samples can be drawn by class; "all": one for all
            classes together, as in the authors' code.
    """

    measures_in_parts: ClassVar[bool] = True
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "network": [{"kind": "predictive", "units": [20, 20], "latents": 3}],
        "readouts": {},
        **LEARNS,
    }

    def __init__(
        self,
        negatives: NegativeData | ByName = "wrong-label",
        rows: Count = 2000,
        components: Count = 10,
        mixture: Literal["class", "all"] = "class",
    ) -> None:
        super().__init__(None, negatives, rows)
        self.components = components
        self.by_class = mixture == "class"

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when the network is not one predictive circuit.
        """
        if len(net.stages) != 1 or not isinstance(net.stages[0], Predictive):
            raise ValueError(
                "the network should be one predictive circuit: network: [{kind: predictive, units: […]}]"
            )
        super().connect(net)

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when a class has fewer samples than components, or inputs are outside [0, 1].
        """
        shape = super().setup(context)
        if (known := context.statistics) is not None:
            refuse_few(known.counts if self.by_class else [sum(known.counts)], self.components)
            if known.low < 0 or known.high > 1:
                raise ValueError(
                    f"inputs are between {known.low:.3g} and {known.high:.3g}, but the generator makes "
                    "images in [0, 1]; set data.standardise to false"
                )
        return shape

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Return the layers, the classifier, then the readouts."""
        layers = [source for source in net.sources if source.role == "block"]
        name = cast(str, circuit_of(net).classifier.name)  # as its block is called
        return (*layers, Source(name, "readout"), *net.sources[len(layers) :])

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return the goodness of each layer for each hypothesis, and the classifier's logits, (N, K) each."""
        return [*super().evidence(x, net), circuit_of(net).logits(x)]

    def measure(self, batch: Batch, net: Network) -> Mapping[str, Tensor]:
        """Return errors of reconstructions, means over pixels: squared, and binary cross-entropy in nats."""
        made = circuit_of(net).reconstructed(batch.x).to(batch.x.dtype)
        with torch.autocast(made.device.type, enabled=False):  # on a GPU torch refuses it under autocast
            entropy = F.binary_cross_entropy(made.clamp(1e-6, 1 - 1e-6), batch.x, reduction="none")
        return {
            "reconstruction_mse": (made - batch.x).square().flatten(1).mean(1),
            "reconstruction_bce": entropy.flatten(1).mean(1),
        }

    def conclude(self, net: Network, train: Iterable[Batch], test: Iterable[Batch]) -> Mapping[str, Tensor]:
        """Fit mixtures to the latents; return them, reconstructions, samples and goodness by step.

        Metrics: ``samples_as_asked`` is the share of class-conditional samples that an independent classifier
        assigns to their class, ``judge_accuracy`` its accuracy on real images; both only with a mixture for
        each class. ``samples_to_train`` and ``test_to_train`` are median distances to the nearest training
        image. If samples are much nearer than test images, they are copies.
        """
        circuit = circuit_of(net)
        x, y = _whole(train)
        test_x, test_y = _whole(test)
        latents = torch.cat([circuit.encoded(part) for part in torch.split(x, self.rows)])
        mixture = Mixture.fit(latents, y, self.classes, self.components, 0, self.by_class)
        asked = torch.arange(self.classes).repeat_interleave(JUDGED)
        samples = circuit.decoded(mixture.sample(asked.tolist(), np.random.default_rng(0)).to(x)).cpu()
        some = test_x[:SHOWN]
        x, test_x = x.float().cpu(), test_x.float().cpu()
        judged: dict[str, Tensor] = {}
        if self.by_class:
            judge = Judge.train(x, y.cpu(), test_x, test_y.cpu())
            judged["samples_as_asked"] = torch.tensor(judge.agreement(samples.float(), asked))
            judged["judge_accuracy"] = torch.tensor(judge.accuracy)
        return {
            **mixture.arrays(),
            "originals": some,
            "reconstructions": circuit.reconstructed(some),
            "samples": samples.view(self.classes, JUDGED, *samples.shape[1:])[:, :SHOWN],
            "goodness_by_step": self._by_step(net, test_x[:1000].to(latents), test_y[:1000]),
            **judged,
            "samples_to_train": nearest(samples.float(), x).median(),
            "test_to_train": nearest(test_x[: len(samples)], x).median(),
        }

    def _by_step(self, net: Network, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean goodness of samples with their own and with wrong labels, (layers, 2, steps)."""
        n = x.shape[0]
        batch = Batch(x, y, torch.arange(n, device=x.device), 0, n)
        batch.seed(0, 0)
        calls = net.trace(self.views(batch, net))
        return torch.stack([torch.stack(of).view(len(of), 2, n).mean(2).T for of in calls])


def circuit_of(net: Network) -> Predictive:
    """Return the network's only circuit; `PredictiveForwardForward.connect` has checked that it is."""
    (circuit,) = net.circuits
    assert isinstance(circuit, Predictive)
    return circuit


def _whole(split: Iterable[Batch]) -> tuple[Tensor, Tensor]:
    batches = list(split)
    return torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])
