"""`Run`: a finished run, with its results and its trained module."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import torch

from ffcore import files
from ffcore.engine.module import ForwardOnly
from ffcore.reading import read_text
from ffcore.recipe.objects import records
from ffcore.recipe.text import parse
from ffcore.report.text import count, duration, number, percent
from ffcore.run.predictor import Predictor
from ffcore.run.results import Results
from ffcore.trust import trusting

__all__ = ["Run"]


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run.

    Attributes:
        path: the run directory.
        results: the content of its ``results.json``.
        module: the trained module.
        transform: the function of ``data.transform`` if it was given from Python.
    """

    path: Path
    results: Results
    module: ForwardOnly = field(compare=False)
    transform: Any = field(default=None, compare=False)

    def predictor(self, checkpoint: str | None = None, *, device: str | torch.device = "cpu") -> Predictor:
        """Returns a predictor with the trained network, as ``ffcore.load(run.path)`` does.

        Args:
            checkpoint: "last" or "best"; None for the one that the recipe selects.
            device: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.

        Raises:
            UserError: the directory or the checkpoint does not exist.
        """
        recorded = parse(read_text(self.path / files.CONFIG), files.CONFIG).data
        # ``config.yaml`` only describes objects made in Python; this process still has them
        net = copy.deepcopy(self.module.net) if any(records(recorded)) else None
        with trusting():  # this process has written the checkpoint
            objects = {} if self.transform is None else {"data.transform": self.transform}
            return Predictor(self.path, checkpoint, objects, net, device)

    def __repr__(self) -> str:
        rows = list(self._rows())
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(value)}</td></tr>'
            for name, value in self._rows()
        )
        return f"<table><tbody>{rows}</tbody></table>"

    def _quality(self) -> Iterator[tuple[str, str]]:
        test, val = self.results.test, self.results.val
        if self.results.get("split", {}).get("test"):  # the test samples are those of the validation
            yield "no test split", "what is called test was measured on validation samples"
        if (task := self.results.task) is not None:
            headline = task["headline"]
            for name, value in test.measures.items():
                yield f"test {name}", number(value)
            if val is not None:
                yield f"validation {headline}", number(val.measures.get(headline))
            if len(test.per_block) > 1:
                for name, value in test.per_block.items():
                    yield f"test {headline} of {name}", number(value)
            return
        yield "test accuracy", percent(test.accuracy)
        if val is not None:
            yield "validation accuracy", percent(val.accuracy)
        if len(per_source := test.per_block_accuracy) > 1:
            for name, accuracy in per_source.items():
                yield f"test accuracy of {name}", percent(accuracy)

    def _rows(self) -> Iterator[tuple[str, str]]:
        results = self.results
        yield "run", f"{results.recipe}, seed {results.seed}"
        yield from self._quality()
        selected = results.epoch_selected
        chosen = f", weights of epoch {selected}" if selected not in (None, results.epochs) else ""
        yield "epochs", f"{count(results.epochs)}{chosen}"
        yield "time", f"{duration(results.train_s)} of training, {duration(results.wall_s)} in total"
        yield "directory", str(self.path)
