"""The contract of learning passes that are not a loop over all stages: on several ranks, or around a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

from torch import Tensor, nn

from ffcore.errors import RunError
from ffcore.interfaces import Block, Turns
from ffcore.interfaces.turns import HERE
from ffcore.local.passes import Pass

if TYPE_CHECKING:
    from ffcore.local.network import LocalNetwork


class Route(ABC):
    """Runs learning passes; see `ffcore.ranks.span` and `ffcore.local.overlap`.

    Attributes:
        measures: whether passes without learning have to run on the route too: this process does not hold
            the weights of all blocks.
        joint: whether all processes run the same passes now; see `Routed.joint`.
        copied: whether a copy of the network has a copy of the route: not if that has connections to other
            processes.
        refusal: with ``measures``, the message of a pass that other processes do not run.
    """

    measures: bool = False
    joint: bool = False
    copied: bool = True
    refusal: str = (
        "this rank holds only its own blocks while it trains or tests, so that it can neither run nor copy "
        "the network; wait for the end, or set hold: all in trainer.strategy"
    )

    @abstractmethod
    def learn(self, network: LocalNetwork, here: Pass, stages: range) -> None:
        """Run a pass in which this process's blocks learn.

        Args:
            network: the network with the stages.
            here: the pass.
            stages: the stages of the pass, if all ran in this process.
        """

    @abstractmethod
    def read(self, network: LocalNetwork, here: Pass, handed_on: dict[Block, Tensor]) -> bool:
        """Run a pass for readouts that learn; return whether they learn in this process.

        Args:
            network: the network with the stages.
            here: the pass; its observers write the handoffs to ``handed_on``.
            handed_on: receives the handoff of each block.
        """

    def goodness(self, network: LocalNetwork, here: Pass, found: dict[Block, list[Tensor]]) -> None:
        """Run a pass without learning; add the evidence of all blocks to ``found``.

        Only for routes with ``measures``. Processes other than the last may add zeros.

        Args:
            network: the network with the stages.
            here: the pass; its observers write the evidence of this process's blocks to ``found``.
            found: receives the evidence of each block.
        """
        raise NotImplementedError(f"{type(self).__name__} does not measure")

    def settle(self, network: LocalNetwork) -> None:  # noqa: B027
        """Finish the passes that have begun. Called before any other use of the weights.

        By default nothing: each pass of `learn` is finished when it returns.
        """

    def loaded(self, network: LocalNetwork) -> None:
        """Prepare for weights that are about to be loaded. By default like `settle`."""
        self.settle(network)


class Routed(nn.Module):
    """A network with a route: it finishes passes that have begun before its weights are used otherwise.

    Attributes:
        route: runs learning passes on several ranks or around boxes; None if they are a loop over the stages.
    """

    route: Route | None

    def __init__(self) -> None:
        super().__init__()
        self.route = None
        self.register_state_dict_pre_hook(_settle_first)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_before_load)  # type: ignore[no-untyped-call]

    @property
    def measured_apart(self) -> bool:
        """Whether passes without learning run on the route, since this process does not hold all blocks.

        Raises:
            RuntimeError: when other processes may not run the same passes.
        """
        if self.route is None or not self.route.measures:
            return False
        if not self.route.joint:
            self.refuse_parts()
        return True

    def refuse_parts(self) -> None:
        """Raise if this process does not hold all blocks.

        Raises:
            RuntimeError: with `Route.refusal`.
        """
        if self.route is not None and self.route.measures:
            raise RuntimeError(self.route.refusal)

    @contextmanager
    def joint(self) -> Iterator[None]:
        """Within the context all processes of the route run the same passes that measure."""
        if self.route is not None:
            self.route.joint = True
        try:
            yield
        finally:
            if self.route is not None:
                self.route.joint = False

    def follow(self, route: Route | None) -> None:
        """Set the route; if it makes the turns of circuits, they give it their turns."""
        self.route = route
        for circuit in cast("LocalNetwork", self).circuits:
            circuit.turns = route if isinstance(route, Turns) else HERE

    def settle(self) -> None:
        """Finish learning passes that wait for a box; see `ffcore.local.overlap`."""
        if self.route is not None:
            self.route.settle(cast("LocalNetwork", self))

    def train(self, mode: bool = True) -> Self:
        """Set the mode, after all passes that have begun."""
        self.settle()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:  # behind `to`, `double` and so on
        self.settle()
        made: Self = super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: the state after all passes that have begun.

        Raises:
            RunError: this process does not hold all blocks.
        """
        self.settle()
        if self.route is None or self.route.copied:
            return self.__dict__
        if self.route.measures:
            raise RunError(self.route.refusal)
        return {**self.__dict__, "route": None}


def _settle_first(network: Routed, *args: Any) -> None:
    network.settle()


def _before_load(network: Routed, *args: Any) -> None:
    if network.route is not None:
        network.route.loaded(cast("LocalNetwork", network))
