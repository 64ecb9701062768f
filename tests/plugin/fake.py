"""A plugin with a component of every noun, without torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from ffcore.options import Count, Part
from ffcore.plugin import hookimpl


class Nothing:
    """Takes no options."""


class Overlay:
    def __init__(self, scale: float = 1.0) -> None: ...


class FF:
    def __init__(
        self,
        labels: Annotated[Any, Part("label")] = "overlay",
        negatives: Annotated[Any, Part("negative")] | None = None,
    ) -> None: ...


class Logistic:
    def __init__(self, threshold: float | Literal["units"] = "units") -> None: ...


class Dense:
    def __init__(self, units: Count) -> None: ...


class Chain:
    def __init__(self, parts: list[Annotated[Any, Part("handoff")]]) -> None: ...


class Images:
    def __init__(self, root: str = "data") -> None: ...


@hookimpl
def ffcore_register(registry):
    import click

    @click.command()
    def tally() -> None:
        """Count things."""
        click.echo("counted")

    registry.goodness("sum-squares", Nothing, "sum of squares")
    registry.goodness("mean-squares", Nothing)
    registry.objective("logistic", Logistic)
    registry.penalty("peer-norm", Nothing)
    registry.loss("whole", Nothing)
    registry.augmentation("shift", Nothing)
    registry.negative("wrong-label", Nothing)
    registry.label("overlay", Overlay)
    registry.handoff("rms", Nothing)
    registry.handoff("chain", Chain)
    registry.body("dense", Dense)
    registry.network("net", Nothing)
    registry.circuit("circuit", Nothing)
    registry.contribution("sum", Nothing)
    registry.schedule("greedy", Nothing)
    registry.readout("softmax", Nothing)
    registry.rule("ridge", Nothing)
    registry.task("classification", Nothing)
    registry.blackbox("worker", Nothing)
    registry.algorithm("forward-forward", FF)
    for name in ("adam", "adamw", "rmsprop", "sgd"):
        registry.optimizer(name, f"ffcore_std.optimizers:{name}")
    registry.lr_schedule("constant", "ffcore_std.lr_schedules:Constant")
    registry.lr_schedule("cosine", "ffcore_std.lr_schedules:Cosine")
    registry.lr_schedule("hold-then-linear", "ffcore_std.lr_schedules:HoldThenLinear")
    registry.lr_schedule("step", "ffcore_std.lr_schedules:Step")
    registry.accelerator("cpu", Nothing)
    registry.strategy("alone", Nothing)
    registry.dataset("images", Images)
    registry.dataset("digits", Nothing)
    registry.recipe("fake/ff", Path(__file__).with_name("fake-ff.yaml"))
    registry.report_section("filters", Nothing)
    registry.command("tally", tally)
