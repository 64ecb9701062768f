"""``ffcore continue``: text that the language model of a run writes."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.errors import UserError


@click.command(name="continue")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option(
    "--tokens", "count", type=click.IntRange(1, 10_000), default=200, show_default=True, help="new tokens"
)
@click.option(
    "--temperature", type=click.FloatRange(1e-3, 100), default=0.8, show_default=True,
    help="below 1, likely tokens become more likely",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="seed of the random numbers"
)
def command(run_dir: Path, prompt: str, count: int, temperature: float, seed: int) -> None:
    """Continue the text PROMPT with the language model of the run in RUN_DIR."""
    import torch

    import ffcore
    from ffcore.tasks import TokenClassification
    from ffcore.tasks.generation import continued
    from ffcore_sequence.text import text_of, tokens_of

    predictor = ffcore.load(run_dir)
    if not isinstance(predictor.form.task, TokenClassification) or len(predictor.shape) != 1:
        raise UserError(f"{run_dir}: is no language model: its task is {predictor.form.task}")
    given = torch.tensor([tokens_of(prompt, predictor.classes)])
    made = continued(predictor.scores, given, count, predictor.shape[0], temperature, seed)
    click.echo(text_of(made[0].tolist(), predictor.classes))
