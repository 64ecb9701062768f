"""What recipes may say about black boxes; no torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from ffcore.plugin.options import Options
from ffcore.recipe.spec import Function as IsFunction
from ffcore_blackbox.targets import refuse_missing


def _there(target: Any) -> Any:
    """A function from Python needs no search."""
    return refuse_missing(target) if isinstance(target, str) else target


_Target = Annotated[Any, IsFunction(), AfterValidator(_there)]


class Function(Options):
    """A Python function on tensors."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "torch:tanh"}]})

    target: _Target = Field(
        description="module:function, found without importing it; from Python also the function itself"
    )
    rows: int | None = Field(default=None, gt=0, description="most rows of one call; null: any number")


class ArrayFunction(Function):
    """A Python function on arrays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "numpy:tanh", "rows": 4}]})


class Estimator(Options):
    """A transformer of scikit-learn's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "PCA", "options": {"n_components": 3}},
                {"name": "RandomTreesEmbedding", "options": {"n_estimators": 4, "max_depth": 2}},
            ]
        }
    )

    name: str = Field(default="PCA", description="its class, or module:Class")
    options: dict[str, Any] | None = Field(default=None, description="arguments of its constructor")
    path: str | None = Field(default=None, description="file of a fitted one, by joblib")
    samples: int = Field(default=10_000, gt=0, description="rows that it is fitted on")


class Onnx(Options):
    """An ONNX model."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"path": str(Path(__file__).with_name("relu.onnx"))}],
            "needs": "onnxruntime",
        }
    )

    path: str = Field(description="the file")
    threads: int = Field(default=1, gt=0, description="of the runtime")
    rows: int | None = Field(default=None, gt=0, description="most rows of one call; null: any number")


class Process(Options):
    """An external process."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"command": ["{python}", "-m", "ffcore_blackbox.server"]}]}
    )

    command: list[str] | str = Field(
        description="the program and its arguments; {python} is the one that runs"
    )
    timeout: float = Field(default=30.0, gt=0, description="seconds to wait for an answer")
    rows: int | None = Field(default=None, gt=0, description="most rows of one frame; null: any number")


class Threshold(Options):
    """A sign or a step."""

    threshold: float = Field(default=0.0, description="where it is")


class Quantise(Options):
    """Few bits."""

    bits: int = Field(default=4, ge=1, le=16, description="number of bits")


class WinnerTakeAll(Options):
    """The largest of each group."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"group": 5, "winners": 2}]})

    group: int = Field(default=10, gt=0, description="units of a group")
    winners: int = Field(default=1, gt=0, description="how many win")


class LookUp(Options):
    """A table."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"table": [0, 1, -1]}, {"table": [0, 2], "edges": [0.5]}]}
    )

    table: list[float] = Field(min_length=2, description="entries, from the lowest bin")
    edges: list[float] | None = Field(default=None, description="borders; null: quantiles, found by fitting")


class Crossbar(Options):
    """An analog crossbar."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"units": 6}, {"units": 5, "device": 3, "bits": None, "saturation": None}]
        }
    )

    units: int = Field(gt=0, description="outputs")
    device: int = Field(default=0, ge=0, description="which piece of hardware")
    noise: float = Field(default=0.1, ge=0, description="relative error of programmed conductances")
    hours: float = Field(default=0.0, ge=0, description="of drift since they were programmed")
    dead: float = Field(default=0.01, ge=0, le=1, description="share of cells that conduct nothing")
    saturation: float | None = Field(default=3.0, gt=0, description="largest size of a sum; null: no limit")
    bits: int | None = Field(default=8, ge=1, le=24, description="of the converter; null: exact")
