"""A light plugin with one of everything: no target of it can be imported, and none has to be."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ffcore.plugin import Options, hookimpl
from ffcore.recipe.spec import Kind, Spec


class Nothing(Options):
    pass


class Overlay(Options):
    scale: float = 1.0


class FF(Options):
    labels: Annotated[Spec, Kind("label")] = Field(default={"kind": "overlay"}, validate_default=True)
    negatives: Annotated[Spec, Kind("negative")] | None = None


class Logistic(Options):
    threshold: float | Literal["units"] = "units"


class Dense(Options):
    units: int = Field(gt=0)


class Chain(Options):
    parts: list[Annotated[Spec, Kind("handoff")]]


class Images(Options):
    root: str = "data"


@hookimpl
def ffcore_register_goodness(register):
    register("sum-squares", "nowhere:SumSquares", Nothing, "sum of squares")
    register("mean-squares", "nowhere:MeanSquares", Nothing)


@hookimpl
def ffcore_register_objectives(register):
    register("logistic", "nowhere:Logistic", Logistic)


@hookimpl
def ffcore_register_penalties(register):
    register("peer-norm", "nowhere:PeerNorm", Nothing)


@hookimpl
def ffcore_register_augmentations(register):
    register("shift", "nowhere:Shift", Nothing)


@hookimpl
def ffcore_register_negatives(register):
    register("wrong-label", "nowhere:WrongLabel", Nothing)


@hookimpl
def ffcore_register_labels(register):
    register("overlay", "nowhere:Overlay", Overlay)


@hookimpl
def ffcore_register_handoffs(register):
    register("rms", "nowhere:RMS", Nothing)
    register("chain", "nowhere:Chain", Chain)


@hookimpl
def ffcore_register_bodies(register):
    register("dense", "nowhere:Dense", Dense)


@hookimpl
def ffcore_register_networks(register):
    register("net", "nowhere:Net", Nothing)


@hookimpl
def ffcore_register_circuits(register):
    register("circuit", "nowhere:Circuit", Nothing)


@hookimpl
def ffcore_register_contributions(register):
    register("sum", "nowhere:Sum", Nothing)


@hookimpl
def ffcore_register_schedules(register):
    register("greedy", "nowhere:Greedy", Nothing)


@hookimpl
def ffcore_register_readouts(register):
    register("softmax", "nowhere:Softmax", Nothing)


@hookimpl
def ffcore_register_rules(register):
    register("ridge", "nowhere:Ridge", Nothing)


@hookimpl
def ffcore_register_blackboxes(register):
    register("worker", "nowhere:Worker", Nothing)


@hookimpl
def ffcore_register_algorithms(register):
    register("forward-forward", "nowhere:FF", FF)


@hookimpl
def ffcore_register_datasets(register):
    register("images", "nowhere:Images", Images)
    register("digits", "nowhere:Digits", Nothing)


@hookimpl
def ffcore_register_recipes(register):
    register("fake/ff", Path(__file__).with_name("fake-ff.yaml"))


@hookimpl
def ffcore_register_report_sections(register):
    register("filters", "nowhere:filters")


@hookimpl
def ffcore_register_commands(register):
    import click

    @click.command()
    def sweep() -> None:
        """Try many values."""
        click.echo("swept")

    register("sweep", sweep)
