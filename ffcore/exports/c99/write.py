"""Writes a network as a pair of C files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from ffcore.errors import UserError, expect, shortened
from ffcore.exports.c99.compose import Sums, Weights, composed
from ffcore.exports.c99.optimisers import stepping
from ffcore.exports.c99.read import read, refusal
from ffcore.files import write_whole
from ffcore.interfaces.c99 import literal
from ffcore.local import BlockOptimizers
from ffcore.network import Network

LONGEST = 40
"""Longest name. C99 promises to tell external names apart by their first 31 characters."""

_KEYWORDS = re.compile(
    r"auto|break|case|char|const|continue|default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|"
    r"register|restrict|return|short|signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while"
)
_HEADERS = frozenset({"math", "stddef", "stdint", "string"})


def write_c(
    net: Network,
    folder: Path,
    *,
    name: str = "ffnet",
    optimizer: BlockOptimizers | None = None,
    learn: bool = True,
    weights: Weights = "float32",
    sums: Sums = "float32",
    stored: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write ``NAME.h`` and ``NAME.c``: a network in C99 that predicts, and learns from one sample at a time.

    The code allocates no memory and needs no library but C's own ``<math.h>`` and ``<string.h>``. Its
    functions are documented in the header, which also has a table of the bytes in RAM and flash:

        int   NAME_predict(x, scores)                    the class of a sample
        float NAME_learn(x, label, wrong_label, losses)  one step of Forward-Forward, a batch of one sample
        int   NAME_accumulate(x, label)                  closed forms: adds a sample
        int   NAME_solve(void)                           closed forms: solves for the weights of a block

    Weights, learning rates and the optimiser's state continue from those of the network. Two networks can be
    written: Forward-Forward with a label in the input, and blocks in closed form, such as forward projection.
    Bodies are dense. Every other component takes part if it has a C form, see `ffcore.interfaces.c99`.

    >>> import tempfile, torch, ffcore
    >>> from ffcore.exports.c99 import write_c
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_c(net, folder, name="digits", optimizer=optimizers)]
    ['digits.h', 'digits.c']

    Args:
        net: the network, with random or trained weights.
        folder: where the files are written; made if it does not exist.
        name: the name of the files, and the prefix of all names of the C code.
        optimizer: made by `ffcore.optimizers`, for a Forward-Forward network that learns; None: those of
            ``net.learn``. SGD, Adam and AdamW. Later learning rates are set in ``NAME_rate``.
        learn: whether the C code learns. If not, the weights are constants, in flash.
        weights: "int8" for prediction with weights and activities rounded to eight bits.
        sums: precision of the sums of closed forms, and of their solution; ffcore has "float64".
        stored: ``scale``, ``mean`` and ``std`` with which stored values become samples, for the header; see
            `ffcore.exports.Training`.
        overwrite: whether to replace existing files.

    Returns:
        The header and the C file.

    Raises:
        ffcore.errors.UserError: when the name is not one of C, a file exists, a weight is non-finite, or a
            part of the network has no C form. Nothing has been written.
    """
    if not isinstance(net, Network):
        raise UserError(f"net: a {type(net).__name__} is not an ffcore.Network")
    _refuse_name(name)
    for what, value, right in (("weights", weights, get_args(Weights)), ("sums", sums, get_args(Sums))):
        if value not in right:
            raise UserError(f"{what}: should be {' or '.join(right)}, not {shortened(value)}")
    if learn and weights == "int8":
        raise refusal("weights int8 do not learn; use learn=False (ffcore export RUN predict --to c --int8)")
    net.local.settle()
    plan = read(net, learn)
    steps = None
    if learn and plan.labels is not None:
        given = optimizer if optimizer is not None else net.optimizers
        if given is None:
            raise refusal(
                "the network has no optimisers; use optimizer=ffcore.optimizers(net, …) or learn=False"
            )
        steps = stepping(given, plan.layers, name)
    title = f"a {'Forward-Forward ' if plan.labels is not None else ''}network of {len(plan.layers)} blocks"
    header, code = composed(plan, name, title, learn, weights, steps, sums, _scaling(name, stored))
    return _written(Path(folder), {f"{name}.h": header, f"{name}.c": code}, overwrite)


def _scaling(name: str, stored: Mapping[str, Any] | None) -> str:
    """Return the macros by which stored values become samples: (value × SCALE − MEAN) / STD."""
    if stored is None:
        return ""
    numbers = {"SCALE": [stored["scale"]], "MEAN": list(stored["mean"]), "STD": list(stored["std"])}
    lines = ["/* a sample is (stored value * SCALE - MEAN) / STD; several numbers: one a channel */"]
    for key, values in numbers.items():
        listed = ", ".join(map(literal, values))
        lines.append(f"#define {name.upper()}_{key} {listed if len(values) == 1 else f'{{{listed}}}'}")
    return "\n".join(lines) + "\n"


def _refuse_name(name: object) -> None:
    """Raise if a name cannot begin the names of C.

    Raises:
        UserError: with the name.
    """
    expect("name", name, str, "a name of C")
    assert isinstance(name, str)
    letters = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, flags=re.ASCII)
    if not letters or _KEYWORDS.fullmatch(name) or name in _HEADERS or len(name) > LONGEST:
        right = f"a letter, then letters, digits and _, at most {LONGEST}, and no word or header of C"
        raise UserError(f"name: should be {right}; not {shortened(name)}")


def _written(folder: Path, texts: dict[str, str], overwrite: bool) -> list[Path]:
    """Write files.

    Raises:
        UserError: when one exists, or cannot be written.
    """
    paths = [folder / name for name in texts]
    for path in paths:
        if path.exists() and not overwrite:
            raise UserError(
                f"{shortened(str(path), 200)} already exists; overwrite=True (--overwrite) replaces it"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, texts.values(), strict=True):
            write_whole(path, lambda draft, text=text: draft.write_text(text, encoding="ascii"))  # type: ignore[misc]
    except OSError as error:
        if not overwrite:
            for path in paths:  # one of a pair is of no use
                path.unlink(missing_ok=True)
        raise UserError(f"{shortened(str(folder), 200)} cannot be written: {error.strerror}") from error
    return paths
