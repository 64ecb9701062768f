"""Checks samples and classes from the user and converts them for a trained network.

N samples, K classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcore.data.given import of_targets
from ffcore.errors import UserError, a, closest, one_line
from ffcore.interfaces import Task


def stored(x: Any, shape: Sequence[int], dtype: torch.dtype) -> NDArray[Any]:
    """Returns samples (N, *shape): uint8 unchanged, all other types in the network's precision.

    Args:
        x: array, tensor on any device or nested list; read-only arrays and any strides are accepted. A
            channel axis of size 1 may be left out, and samples may be flat.
        shape: shape of one sample.
        dtype: float32 or float64.

    Raises:
        UserError: the samples are not numbers, the shape does not fit, or a sample is not finite.
    """
    given = _array(x, "x")
    if given.shape == (0,):  # an empty list
        given = given.reshape(0, *shape)
    if given.ndim == 0 or math.prod(given.shape[1:]) != math.prod(shape):
        one = "; for one sample give x[None]" if given.size == math.prod(shape) else ""
        raise UserError(
            f"x: samples of shape {given.shape[1:]}, but the run was trained on {tuple(shape)}{one}"
        )
    rows = given.reshape(len(given), *shape)
    if rows.dtype == np.uint8:
        return rows
    if rows.dtype.kind not in "biufO":
        raise UserError(f"x: samples should be numbers, not {given.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):  # values out of range become inf, which raises below
        try:
            converted = rows.astype(np.float64 if dtype is torch.float64 else np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"x: samples should be numbers, not {given.dtype}: {one_line(error, 99)}"
            ) from error
    finite = np.isfinite(converted).reshape(len(rows), math.prod(shape))
    bad = np.flatnonzero(~finite.all(axis=1))
    if len(bad):
        row = int(bad[0])
        value = rows[row].reshape(-1)[~finite[row]][0]
        others = f", and {len(bad) - 1} more rows" if len(bad) > 1 else ""
        raise UserError(f"x: row {row} has {value}, which is not a finite {converted.dtype}{others}")
    return converted


def warn_scaled(x: NDArray[Any], scale: float) -> None:
    """Warn about samples that have been scaled to 0…1, for a network that scales stored values itself.

    Args:
        x: samples (N, ...) from `stored`.
        scale: factor of the stored values, below 1 for bytes.
    """
    if x.dtype.kind != "f" or scale >= 1 or not x.size:
        return
    largest = float(x.max())
    # stored values are whole numbers: a fraction can only come from scaling
    if largest <= 1 and x.min() >= 0 and (x % 1 != 0).any():
        warnings.warn(
            f"x: the values are 0 to {largest:.3g}, but the run was trained on stored values from 0 to "
            f"{1 / scale:.0f}, which it scales itself: give them unscaled",
            stacklevel=5,
        )


def class_numbers(y: Any, classes: Sequence[str]) -> NDArray[np.int64]:
    """Returns class indices (N,).

    Args:
        y: (N,) indices from 0, or names; an array, a tensor or a list.
        classes: K names.

    Raises:
        UserError: ``y`` is not one class per sample, or a class does not exist.
    """
    given = _array(y, "y")
    if given.ndim != 1:
        raise UserError(f"y: should be one class per sample, (N,), not {given.shape}")
    if given.dtype.kind == "U" or (given.dtype.kind == "O" and all(isinstance(one, str) for one in given)):
        return _from_names(given.tolist(), classes)
    try:
        with np.errstate(invalid="ignore"):  # values that are not integers raise below
            numbers: NDArray[np.int64] = given.astype(np.int64)
        exact = numbers == given
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"y: classes should be numbers or names, not {given.dtype}") from error
    wrong = np.flatnonzero(~exact | (numbers < 0) | (numbers >= len(classes)))
    if len(wrong):
        raise UserError(f"y: row {wrong[0]} is {given[wrong[0]]}; classes are 0 to {len(classes) - 1}")
    return numbers


def _from_names(names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    known = {name: number for number, name in enumerate(classes)}
    for row, name in enumerate(names):
        if name not in known:
            raise UserError(f"y: row {row} is {name!r}, which is not a class{closest(name, known)}")
    return np.array([known[name] for name in names], dtype=np.int64)


def _array(values: Any, name: str) -> NDArray[Any]:
    if isinstance(values, Tensor):
        on_cpu = values.detach().cpu()
        return (on_cpu.float() if on_cpu.dtype is torch.bfloat16 else on_cpu).numpy()  # NumPy has no bfloat16
    try:
        made = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: not an array: {one_line(error, 99)}") from error
    if made.ndim == 0 and not isinstance(values, np.ndarray):
        right = "an array, a tensor or a list with an entry for each sample"
        raise UserError(f"{name}: should be {right}, not {a(type(values).__name__)}")
    return made


def stored_as(x: Any, shape: Any, dtype: Any) -> Any:
    """Returns samples of tokens or of several inputs, in the structure of their shapes.

    Args:
        x: (N, *shape) arrays or tensors, in a tuple or mapping for several inputs.
        shape: shape of one sample, or a tuple or mapping of shapes.
        dtype: name of the type of a sample, in the same structure.

    Raises:
        UserError: the structure, a shape or a type does not fit.
    """
    if isinstance(dtype, Mapping):
        if not isinstance(x, Mapping) or x.keys() != dtype.keys():
            raise UserError(f"x: should be a mapping with {', '.join(dtype)}")
        return {name: stored_as(x[name], shape[name], each) for name, each in dtype.items()}
    if isinstance(dtype, tuple | list):
        if not isinstance(x, tuple | list) or len(x) != len(dtype):
            raise UserError(f"x: should be a tuple of {len(dtype)} arrays")
        return tuple(stored_as(*each) for each in zip(x, shape, dtype, strict=True))
    given = _array(x, "x")
    if given.shape[1:] != tuple(shape):
        raise UserError(f"x: samples of shape {given.shape[1:]}, but the run was trained on {tuple(shape)}")
    if dtype in ("int64", "bool") and given.dtype.kind not in "iub":
        raise UserError(f"x: samples should be {dtype}, not {given.dtype}")
    return given.astype(dtype)


def targets(y: Any, task: Task) -> NDArray[Any]:
    """Returns the targets of a task other than the classification of samples, as they are stored.

    Raises:
        UserError: they do not fit the task.
    """
    given = of_targets(_array(y, "y"), task, len(y))
    y = torch.from_numpy(np.ascontiguousarray(given))
    task.refuse(y, len(given))
    return task.standardised(y).numpy()
