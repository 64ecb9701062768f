"""Classes given by their names, such as texts, as indices. N samples; K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ffcore.errors import UserError, closest


def are_names(y: Any) -> bool:
    """Return whether targets are texts, one for each sample.

    >>> are_names(np.array(["a", "b"])), are_names(np.array([0, 1]))
    (True, False)
    """
    if not isinstance(y, np.ndarray) or y.ndim != 1:
        return False
    return y.dtype.kind in "US" or (y.dtype.kind == "O" and len(y) > 0 and all(isinstance(v, str) for v in y))


def indexed(
    what: str, labels: Mapping[str, np.ndarray], classes: Sequence[str] | None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return the indices of classes given by name, and the names.

    >>> indexed("data", {"train": np.array(["b", "a", "b"])}, None)
    ({'train': array([1, 0, 1])}, ('a', 'b'))

    Args:
        what: a name for messages.
        labels: texts (N,) of each split; "train" is one of them.
        classes: the K names; None: those of the training split, sorted.

    Raises:
        UserError: a split has other targets, or a class that training does not have.
    """
    for split, y in labels.items():
        if not are_names(y):
            raise UserError(f"{what}, {split}: targets are {y.dtype} {y.shape}, but those of train are texts")
    texts = {
        split: [v.decode() if isinstance(v, bytes) else str(v) for v in y] for split, y in labels.items()
    }
    names = tuple(map(str, classes)) if classes is not None else tuple(sorted(set(texts["train"])))
    index = {name: k for k, name in enumerate(names)}
    for split, of_split in texts.items():
        for row, name in enumerate(of_split):
            if name not in index:
                where = "classes" if classes is not None else "train"
                raise UserError(
                    f"{what}, {split}: the class {name!r} of sample {row} does not occur in {where}"
                    f"{closest(name, index)}"
                )
    return {split: np.array([index[n] for n in of_split]) for split, of_split in texts.items()}, names
