"""Loggers and Lightning callbacks in a recipe: ``trainer.loggers`` and ``trainer.callbacks``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from ffcore.errors import a, closest
from ffcore.recipe.objects import as_kind, is_object
from ffcore.recipe.strict import Strict

LOGGERS: Mapping[str, tuple[str, str]] = {
    "tensorboard": ("lightning.pytorch.loggers:TensorBoardLogger", "tensorboard"),
    "wandb": ("lightning.pytorch.loggers:WandbLogger", "wandb"),
    "mlflow": ("lightning.pytorch.loggers:MLFlowLogger", "mlflow"),
    "comet": ("lightning.pytorch.loggers:CometLogger", "comet-ml"),
    "csv": ("lightning.pytorch.loggers:CSVLogger", "lightning"),
}
"""Target and package of each kind; other loggers are written as ``package.module:Class``."""


def _known(kind: str) -> str:
    # a target is checked when it is imported, at the start of the run
    if ":" not in kind and kind not in LOGGERS:
        raise ValueError(f"there is no logger {kind!r}{closest(kind, LOGGERS)} (or package.module:Class)")
    return kind


def _callback(value: Any) -> Any:
    if is_object(value):
        raise ValueError(
            f"should be the name of a class, not {a(type(value).__name__)}; give callbacks made in Python as "
            "callbacks=[…]"
        )
    return as_kind(value)


def _logger(value: Any) -> Any:
    if is_object(value):
        raise ValueError(f"should be the name of a logger, with options, not {a(type(value).__name__)}")
    return as_kind(value)


class CallbackItem(Strict):
    """A callback or a logger: its class and the arguments of its constructor."""

    kind: str = Field(min_length=1, description="name of the class, or package.module:Class")
    options: dict[str, Any] = Field(default={}, description="arguments of its constructor")


class LoggerItem(CallbackItem):
    """A logger: ``tensorboard``, or ``{kind: wandb, options: {project: mine}}``."""

    kind: Annotated[str, AfterValidator(_known)] = Field(
        description=f"{', '.join(LOGGERS)}, or package.module:Class"
    )


Logger = Annotated[LoggerItem, BeforeValidator(_logger)]
Callback = Annotated[CallbackItem, BeforeValidator(_callback)]
