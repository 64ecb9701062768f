"""Repeats the call that began a run: the run is resumed, or returned if it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffcore import files
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.reading import read_text
from ffcore.recipe.objects import records
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse
from ffcore.report.results import Results, read_results
from ffcore.run.checkpoints import read
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.recorded import recorded
from ffcore.run.resume import refuse_another, resume


def again(run_dir: Path, recipe: Recipe, **options: Any) -> Run:
    """Resume the run of a recipe; a finished run is opened, with its trained module.

    Args:
        run_dir: the directory of the run.
        recipe: the recipe of the run, with its Python objects.
        options: as for `ffcore.run.resume.resume`.

    Raises:
        UserError: the run has another recipe, or cannot be resumed or opened.
    """
    if not (run_dir / files.RESULTS).is_file():
        return resume(run_dir, recipe=recipe, **options)
    refuse_another(run_dir, recorded(run_dir), recipe)
    net = None
    if any(records(parse(read_text(run_dir / files.CONFIG), files.CONFIG).data)):
        meta = read(run_dir / files.CHECKPOINTS / f"{recipe.trainer.select}.ckpt")["ffcore"]["data"]
        net = assembled_for(recipe, Form.read(meta)).net
    module = Predictor(run_dir, net=net).module
    given = recipe.data.transform
    return Run(run_dir, Results(read_results(run_dir)), module, given if callable(given) else None)
