"""Which points of a sweep may be compared: those with the same data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SAME = ("batch_size", "batches", "augment", "transform", "standardise", "root", "cache")
"""Keys of a recipe's ``data`` that leave its samples and targets as they are."""
_NOISE = "data.label_noise"


def of_data(paths: Iterable[str]) -> list[str]:
    """Returns the paths that set which samples are learned and validated, or their targets.

    >>> of_data(["optimizer.lr", "data.batch_size", "data.label_noise", "data.kind"])
    ['data.label_noise', 'data.kind']
    """
    keys = [(path, path.split(".")) for path in paths]
    return [path for path, key in keys if key[0] == "data" and (len(key) < 2 or key[1] not in SAME)]


def setting(point: Sequence[str]) -> tuple[str, ...]:
    """Returns those overrides of a point that set its data: points are compared where they are equal.

    >>> setting(("optimizer.lr=0.1", "data.label_noise=0.2"))
    ('data.label_noise=0.2',)
    """
    paths = of_data(override.partition("=")[0].strip() for override in point)
    return tuple(one for one in point if one.partition("=")[0].strip() in paths)


def why(paths: Sequence[str]) -> str:
    """Returns why points with other values of these paths of data cannot be compared.

    >>> why(["data.kind"])
    'points with another data.kind are validated on other data'
    """
    if list(paths) == [_NOISE]:
        return (
            f"{_NOISE} changes the labels that are learned, not those of validation and test, so it is no "
            "setting to choose"
        )
    return f"points with another {' or '.join(paths)} are validated on other data"
