"""The contracts of what enters a network: augmentations, label codes and negative data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from ffcore.interfaces.batch import Batch
from ffcore.interfaces.component import Component
from ffcore.interfaces.draw import Draw
from ffcore.interfaces.ranks import ranks


class Augmentation(Component):
    """Changes training samples a little, each one differently; classes stay."""

    def prepare(self, shape: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Learn what samples are, before anything else is called.

        Args:
            shape: of one sample.
            mean: what has been subtracted from values in [0, 1], one a channel or one for all.
            std: what they have been divided by then, likewise.

        Raises:
            ValueError: when it cannot change samples of this shape.
        """

    @abstractmethod
    def forward(self, x: Tensor, draw: Draw) -> Tensor:
        """(N, *shape) → (N, *shape), on the device of ``x``, with the random numbers of ``draw``."""


class LabelCode(Component):
    """How a label is written into an input."""

    def prepare(self, shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
        """Learn the data's shape and number of classes, before anything else is called.

        Returns:
            Shape of one labelled input, for the network's first layer.

        Raises:
            ValueError: when so many classes do not fit.
        """
        return shape

    @abstractmethod
    def code(self, y: Tensor | None, n: int) -> Tensor:
        """(n, M) codes of the classes ``y`` (n,); None gives the neutral code, which favours no class."""

    @abstractmethod
    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Inputs (N, *shape) with codes (V·N, M), view by view: V·N rows, a tensor or a `LabelledInput`."""


class NegativeData(Component):
    """Where negative data comes from. It never labels a sample with its own class."""

    needs_probabilities: ClassVar[bool] = False
    """Whether ``probs`` is called: the recipe then needs a readout."""

    couples_samples: ClassVar[bool] = False
    """Whether a negative is made of several samples of the batch: `of` gathers them over ranks then."""

    claims: ClassVar[bool] = True
    """Whether negatives claim a (wrong) class; False for images that are wrong in themselves."""

    def prepare(self, shape: tuple[int, ...], classes: int) -> None:
        """Learn the data's shape and number of classes, before anything else is called."""

    def expect(self, low: float, high: float) -> None:
        """Learn what values the training samples have, before anything is learned.

        Args:
            low: the least, as a loader makes it.
            high: the largest.

        Raises:
            ValueError: when negatives would be told from them by their values alone.
        """

    def of(self, batch: Batch, y: Tensor | None, probs: Callable[[], Tensor]) -> tuple[Tensor, Tensor | None]:
        """What algorithms call: negatives of this rank's share of a batch; see `forward`."""
        group = ranks()
        if group.world == 1 or not self.couples_samples:
            return self(batch.x, y, probs, batch.random())  # type: ignore[no-any-return]
        whole = batch.whole()
        x, claims = self(whole.x, None if y is None else whole.y, lambda: group.rows(probs()), whole.random())
        mine = slice(batch.first, batch.first + len(batch.x))
        return x[mine], None if claims is None else claims[mine]

    @abstractmethod
    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], draw: Draw
    ) -> tuple[Tensor, Tensor | None]:
        """Negative samples and the classes they claim.

        Args:
            x: (N, *shape) positive samples.
            y: (N,) their classes, or None.
            probs: (N, K) class probabilities by the network's readout; evaluated only when called.
            draw: random numbers of this batch.

        Returns:
            (N, *shape) samples (``x`` itself where only the label is wrong) and (N,) claimed classes or None.
        """
