"""State files: the state of a learner and its position, as .npz."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcore.edge.bundle import states
from ffcore.edge.errors import EdgeError
from ffcore.edge.files import Array, arrays, write_arrays
from ffcore.edge.sessions import value

if TYPE_CHECKING:
    from ffcore.edge.learner import Learner

FORMAT = 1
_PREFIX = "state/"


@dataclass(slots=True)
class Progress:
    """Where a learner is.

    Attributes:
        seed: seed of random numbers and of the order.
        steps: number of batches learned.
        epoch: number of epochs learned.
        position: number of batches learned in the current epoch.
        samples: number of samples of the data set of the current epoch; 0 for a stream.
        batch_size: samples of a batch in the current epoch; 0 for a stream.
        learned: number of samples learned in the current epoch.
        losses: sum of every block's loss over them.
    """

    seed: int
    steps: int = 0
    epoch: int = 0
    position: int = 0
    samples: int = 0
    batch_size: int = 0
    learned: int = 0
    losses: dict[str, float] = field(default_factory=dict)


def save(learner: Learner, path: Path) -> None:
    """Write a state file; see `ffcore.edge.Learner.save`."""
    about = {"format": FORMAT, "bundle": learner.bundle.sha, "progress": asdict(learner.progress)}

    def made() -> Iterator[tuple[str, Array]]:
        yield "about", np.array(json.dumps(about))
        yield from ((_PREFIX + name, array) for name, array in learner.items())

    write_arrays(path, made())


def resume(learner: Learner, path: Path) -> None:
    """Read a state file; see `ffcore.edge.Learner.resume`."""
    bundle = learner.bundle
    with arrays(path) as stored:
        if "about" not in stored.names:
            raise EdgeError(f"{path}: not a state file, as `learn --out` or Learner.save writes it")
        try:
            about: dict[str, Any] = json.loads(str(stored["about"]))
            version, sha, progress = about["format"], about["bundle"], Progress(**about["progress"])
        except (ValueError, KeyError, TypeError) as error:
            raise EdgeError(f"{path}: not a state file of format {FORMAT}") from error
        if version != FORMAT:
            raise EdgeError(f"{path}: is of format {version!r}, but this version reads format {FORMAT}")
        if sha != bundle.sha:
            raise EdgeError(f"{path}: is the state of another bundle than {bundle.path}")
        made = {name: value(array) for name, array in states(stored, bundle.about, str(path), _PREFIX)}
    learner.adopt(made, progress)
