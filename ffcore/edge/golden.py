"""The golden step: a step that torch has taken. A bundle is refused if this engine gives other numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ffcore.edge.bundle import Bundle
from ffcore.edge.errors import EdgeError, StoppedError
from ffcore.edge.files import Array, Arrays, arrays
from ffcore.edge.learner import Learner

_SAMPLES = 64


def check(bundle: Bundle) -> None:
    """Take the golden step, and raise if its numbers differ from the stored ones.

    Raises:
        EdgeError: they differ, with the largest difference; or the engine cannot run a graph.
    """
    if bundle.about.golden is None:
        return
    file, tolerance, fill = bundle.about.golden
    with arrays(bundle.path / file) as stored:
        try:
            differences = _differences(Learner(bundle), stored, fill)
        except StoppedError as error:
            raise EdgeError(f"{bundle.path}: the golden step failed: {error}") from error
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is not None and not differences[worst] <= tolerance:
        raise EdgeError(
            f"{bundle.path}: the engine's {worst} differs from torch's by {differences[worst]:.1e} (at most "
            f"{tolerance:g}); export again, use another ONNX Runtime, or load without the check"
        )


def _differences(learner: Learner, stored: Arrays, fill: Mapping[str, float]) -> dict[str, float]:
    about, made = learner.bundle.about, {}
    x = stored["x"]
    if "scores" in stored.names:
        made["scores"] = _difference(learner._scores(x), stored["scores"])
    if not about.phases:
        return made
    for name, number in fill.items():
        learner.replace(name, np.full(about.state[name].shape, number, about.state[name].dtype))
    draws = {name: stored[name] for name in about.random if name in stored.names}
    losses = learner._step(x, stored["y"], 0, float(stored["rate"]), draws)
    found = {f"loss/{block}": np.array(loss) for block, loss in losses.items()}
    for name in about.state:
        if f"new/{name}" in stored.names:
            found[f"new/{name}"] = sampled(learner.value(name))
    compared = [name for name in found if name in stored.names]
    return made | {name: _difference(found[name], stored[name]) for name in compared}


def sampled(array: Array) -> Array:
    """Return at most 64 values at equal distances, as float64."""
    flat = array.reshape(-1)
    index = np.linspace(0, flat.size - 1, min(flat.size, _SAMPLES)).astype(int)
    made: Array = flat[index].astype(np.float64)
    return made


def _difference(a: Array, b: Array) -> float:
    if a.shape != b.shape:
        return float("inf")
    if not b.size:
        return 0.0
    # relative to the largest value: in a sum of large numbers a small one has their rounding errors
    largest = float(np.max(np.abs(a.astype(np.float64) - b)) / (1 + np.max(np.abs(b))))
    return largest if largest == largest else float("inf")  # noqa: PLR0124 - NaN
