"""A finished run, as Python code and notebooks get it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from ffcore import files
from ffcore.engine.module import ForwardOnly
from ffcore.recipe.objects import records
from ffcore.recipe.text import parse
from ffcore.report.text import count, duration, percent
from ffcore.run.predictor import Predictor
from ffcore.run.results import Results
from ffcore.trust import trusting

__all__ = ["Run"]


@dataclass(frozen=True, repr=False)
class Run:
    """What a run leaves behind.

    Attributes:
        path: the run's folder.
        results: the content of its ``results.json``.
        module: the trained module.
    """

    path: Path
    results: Results
    module: ForwardOnly = field(compare=False)

    def predictor(self, checkpoint: str | None = None) -> Predictor:
        """The trained network, ready to predict on the CPU; the same as ``ffcore.load(run.path)``.

        Args:
            checkpoint: "last" or "best"; None for the one that the recipe selects.

        Raises:
            UserError: the folder or its checkpoint is not there any more.
        """
        recorded = parse((self.path / files.CONFIG).read_text(encoding="utf-8"), files.CONFIG).data
        # what was made in Python is not written down, but it is at hand here
        net = copy.deepcopy(self.module.net) if any(records(recorded)) else None
        with trusting():  # this process has written the checkpoint
            return Predictor(self.path, checkpoint, net=net)

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

    def _rows(self) -> Iterator[tuple[str, str]]:
        results = self.results
        yield "run", f"{results.recipe}, seed {results.seed}"
        yield "test accuracy", percent(results.test.accuracy)
        if results.val is not None:
            yield "validation accuracy", percent(results.val.accuracy)
        if len(alone := results.test.per_block_accuracy) > 1:
            for name, accuracy in alone.items():
                yield f"{name} alone, test", percent(accuracy)
        selected = results.epoch_selected
        chosen = f", weights of epoch {selected}" if selected not in (None, results.epochs) else ""
        yield "epochs", f"{count(results.epochs)}{chosen}"
        yield "time", f"{duration(results.train_s)} of learning, {duration(results.wall_s)} in all"
        yield "folder", str(self.path)
