"""What a verb that runs on several ranks prints when one of them fails."""

from __future__ import annotations

import click

from ffcore.errors import RunError, UserError


def failed(error: UserError | RunError, rank: int) -> int:
    """Print the error of this rank and return the exit code; rank 0 raises it, to be printed as any other."""
    if rank == 0:
        raise error
    if not error.everywhere:  # an error of all ranks is printed by rank 0
        click.echo(f"rank {rank}: error: {error}", err=True)
    return 1
