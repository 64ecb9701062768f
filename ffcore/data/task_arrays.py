"""Data sets in an .npz file, with any task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from ffcore.data.arrays import Arrays
from ffcore.data.given import Scale
from ffcore.data.images import ImageSet
from ffcore.data.python import PythonData
from ffcore.errors import UserError
from ffcore.interfaces import Task
from ffcore.options import ByName, FilePath, Natural
from ffcore.parts import part


class TaskArrays(Arrays):
    """An .npz file with x_train, y_train and, optionally, the same of val and test, and classes.

    Without a task samples are images or floats with one class each, see `InMemory`; classes may be texts.
    With a task, samples and targets are those of `PythonData`: floats or integers of any shape. Without
    targets the file needs no y.

    Args:
        path: path of the file.
        test_fraction: share of the training samples that becomes the test split if the file has none.
        seed: seed of that split.
        task: what the targets are; null: one class a sample.
        scale: with a task, what a run standardises column by column; see `PythonData`.
    """

    def __init__(
        self,
        path: FilePath,
        test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
        seed: Natural = 0,
        task: Task | ByName | None = None,
        scale: Scale = "none",
    ) -> None:
        super().__init__(path, test_fraction, seed)
        self.task: Task | None = None if task is None else part("task", task)
        self.scale: Scale = scale
        if self.task is not None and self.task.target == "none":
            self.required = ("x_train",)

    def _of_arrays(self, name: str, known: Mapping[str, Any]) -> ImageSet:
        if self.task is None:
            if self.scale != "none":
                raise UserError(
                    f"{name}: scale: is for data with a task; set data.task, or standardise: true"
                )
            return super()._of_arrays(name, known)
        parts: dict[str, Any] = {
            split: (known[f"x_{split}"], known.get(f"y_{split}"))
            for split in ("train", "val", "test")
            if f"x_{split}" in known
        }
        how: dict[str, Any] = {"test_fraction": self.test_fraction, "seed": self.seed, "scale": self.scale}
        made = {**parts, "classes": known.get("classes")}
        return PythonData(lambda: made, task=self.task, **how).load()
