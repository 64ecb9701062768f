"""`analyse`: what the representations of a network or of a finished run are like.

Samples are a random choice by the run's seed. The test split is measured, and chooses nothing. The formulas
are those of `ffcore.analysis`. N samples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffcore import files
from ffcore.analysis.robustness import Scale
from ffcore.analysis.whole import Subject, Tell, measured
from ffcore.data.images import Split
from ffcore.data.split import permutation, some
from ffcore.errors import UserError, expect
from ffcore.interfaces.structure import mapped, rows, tensors
from ffcore.network import Network
from ffcore.report.analysis_record import Analysis
from ffcore.run.data import Data, differing
from ffcore.run.directory import refuse_read_only, write_json
from ffcore.run.early import checksum
from ffcore.run.evaluate import checksums, choose, open_data, refuse_other_overrides
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.surroundings import own_settings
from ffcore.run.trainer import precision

SAMPLES = 1000
"""Default number of samples."""

LEAST, MOST = 10, 5000
"""Fewest samples for a rank, and most samples: CKA holds a matrix (N, N) for each block."""

_BATCHES = 10
"""Batches of which gradients are compared."""

_AT_ONCE = 100

What = Network | Predictor | Run | str | os.PathLike[str]


@own_settings(warn=False)
def analyse(
    what: What,
    data: tuple[Any, Tensor | None] | None = None,
    *,
    twin: What | None = None,
    samples: int = SAMPLES,
    split: str = "test",
    overrides: Sequence[str] = (),
    tell: Tell = lambda name: None,
) -> Analysis:
    """Measure what the representations of a network or of a finished run are like.

    - Of every block, in a neutral pass: sparsity, dead units, effective rank (`ffcore.analysis`).
    - How alike the blocks are, by unbiased linear CKA, also with those of another network.
    - The cosine between each block's local gradient and that of the global loss, the cross-entropy of the
      network's own class scores, through all blocks.
    - The accuracy with noise, shifts and adversarial changes (FGSM) of the input.

    A part that a network does not have, such as a gradient through a black box, is left out with the reason.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> made = ffcore.analyse(net, (torch.rand(20, 1, 8, 8), torch.arange(20) % 10))
    >>> [block.name for block in made.blocks], made.similarity.values[1][1]
    (['input', 'dense1', 'dense2', 'dense3'], 1.0)

    Args:
        what: a network, a predictor, a run, or a run directory.
        data: for a network, samples x (N, *shape) and targets y as for its training. For a run None: its
            own data.
        twin: another network, or run on the same data, such as the backpropagation twin.
        samples: number of samples, chosen by the run's seed; all if there are fewer.
        split: of a run, "test" or "val". Gradients are those of batches of its training split.
        overrides: where the run's data are now, such as ``data.root=…``.
        tell: called with what is measured next.

    Raises:
        UserError: an argument or the data do not fit, the run or its data cannot be read, or the twin has
            other data.
    """
    expect("samples", samples, int, f"from {LEAST} to {MOST}")
    if not LEAST <= samples <= MOST:
        why = "the rank of so few says nothing" if samples < LEAST else "CKA holds N × N numbers of a block"
        raise UserError(f"samples: should be from {LEAST} to {MOST}, not {samples}: {why}")
    if split not in ("test", "val"):
        raise UserError(f"split: should be test or val, not {split!r}")
    if isinstance(what, Network):
        if data is None:
            raise UserError("data: give samples and targets (x, y) to analyse a network on")
        return _of_network(what, data, twin, samples, tell)
    if data is not None:
        raise UserError("data: are for a network; a run is analysed on its own data")
    refuse_other_overrides(overrides)
    return _of_run(_predictor(what, "what"), twin, samples, split, tuple(overrides), tell)


def analyse_run(
    run_dir: Path,
    overrides: tuple[str, ...] = (),
    *,
    twin: str | None = None,
    samples: int = SAMPLES,
    split: str = "test",
    tell: Tell = lambda name: None,
) -> Analysis:
    """Analyse a run as `analyse` does, and write the result into its file ``analysis.json``.

    Args:
        run_dir: the run directory.
        overrides: where the run's data are now.
        twin: another run directory.
        samples: number of samples.
        split: "test" or "val".
        tell: called with what is measured next.

    Raises:
        UserError: as for `analyse`, or the directory cannot be written to. Nothing is written then.
    """
    predictor = Predictor(run_dir)
    refuse_read_only(predictor.path)
    made = analyse(predictor, twin=twin, samples=samples, split=split, overrides=overrides, tell=tell)
    write_json(predictor.path / files.ANALYSIS, made.as_json())
    return made


def _predictor(what: Any, name: str, device: torch.device | str = "cpu") -> Predictor:
    if isinstance(what, Run):
        return what.predictor(device=device)
    if isinstance(what, Predictor):
        return what
    expect(name, what, (str, os.PathLike), "a network, a run, or the path of a run directory")
    return Predictor(os.fspath(what), device=device)


def _of_run(
    predictor: Predictor,
    twin: What | None,
    samples: int,
    split: str,
    overrides: tuple[str, ...],
    tell: Tell,
) -> Analysis:
    data = open_data(predictor, overrides)
    if data.images.shape != predictor.form.shape:
        raise UserError(
            f"data: samples of {data.images.shape}; the run was trained on {predictor.form.shape}"
        )
    seed = predictor.recipe.seed
    chosen = some(choose(data, split), samples, seed)
    if len(chosen) < LEAST:
        raise UserError(f"data: the {split} split has {len(chosen)} samples; an analysis needs {LEAST}")
    other = None
    if twin is not None:
        other = _twin_of_run(predictor, data, chosen, twin)
    size = data.recipe.data.batch_size
    learn = some(data.train, _BATCHES * size, seed)
    batches = [(batch.x, batch.y) for batch in data.loader(learn, predictor.device, None)]
    return Analysis(
        weights=checksum(predictor.module),
        data=data.images.name,
        split=split,
        samples=len(chosen),
        seed=seed,
        **measured(_subject(predictor, data, chosen), other, batches, "train", seed, tell),
    )


def _of_network(
    net: Network, data: tuple[Any, Tensor | None], twin: What | None, samples: int, tell: Tell
) -> Analysis:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise UserError("data: should be a pair (x, y) of samples and targets")
    x, y = data
    y = net.batch(x, y, 0, 0).y  # raises if they do not fit
    if rows(x) < LEAST:
        raise UserError(f"data: an analysis needs {LEAST} samples, not {rows(x)}")
    order = torch.from_numpy(permutation(rows(x), net.seed)[:samples]).sort().values
    x, y = mapped(x, lambda t: t[order]), y[order]
    other = None
    if twin is not None:
        if not isinstance(twin, Network):
            raise UserError(f"twin: should be an ffcore.Network as well, not a {type(twin).__name__}")
        if twin.shape != net.shape:
            raise UserError(f"twin: takes samples of {twin.shape}, the network of {net.shape}")
        other = _given(twin, x, y)
    size = min(_AT_ONCE, rows(x))
    starts = range(0, rows(x) - size + 1, size)[:_BATCHES]
    batches = [(mapped(x, itemgetter(slice(s, s + size))), y[s : s + size]) for s in starts]
    made = measured(_given(net, x, y), ("twin", other) if other else None, batches, "given", net.seed, tell)
    digest = checksum(net)
    return Analysis(weights=digest, data="given", split="given", samples=rows(x), seed=net.seed, **made)


def _given(net: Network, x: Any, y: Tensor) -> Subject:
    floats = isinstance(x, Tensor) and x.is_floating_point()
    device = next(tensors(x)).device
    scale = Scale.of_values(x) if floats else None
    return Subject(net, x, y, _AT_ONCE, net.scores, partial(net.mixed, device), scale)


def _subject(predictor: Predictor, data: Data, chosen: Split) -> Subject:
    """Return the network of a run with samples, scaled as in its training."""
    parts = list(data.loader(chosen, predictor.device, None))
    x = _joined([batch.x for batch in parts])
    y = torch.cat([batch.y for batch in parts])
    scale = None
    if isinstance(x, Tensor) and x.is_floating_point():
        if getattr(chosen.x, "dtype", None) == "uint8":
            scale = Scale.of_bytes(data.mean, data.std, x.dim() - 1, x.dtype)
        else:
            scale = Scale.of_values(x)
    return Subject(
        predictor.module.net,
        x,
        y,
        data.recipe.data.batch_size,
        lambda changed: predictor.measure(changed)[1],
        partial(precision, predictor.recipe, predictor.device),
        scale,
    )


def _twin_of_run(predictor: Predictor, data: Data, chosen: Split, twin: What) -> tuple[str, Subject]:
    if isinstance(twin, Network):
        raise UserError("twin: should be a run as well, not an ffcore.Network")
    try:
        other = _predictor(twin, "twin", predictor.device)
    except UserError as error:
        raise UserError(f"twin: {error}") from error
    changed = differing(checksums(predictor.provenance), checksums(other.provenance))
    if other.data != predictor.data or other.form.shape != predictor.form.shape or changed is not None:
        what = f"{other.data}, samples of {other.form.shape}"
        raise UserError(
            f"twin {other.path}: was trained on other data ({what}) than the run ({predictor.data}, "
            f"samples of {predictor.form.shape})"
        )
    scaled = replace(data, mean=other.mean, std=other.std)
    return str(other.path), _subject(other, scaled, chosen)


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple | list):
        return tuple(_joined(list(each)) for each in zip(*parts, strict=True))
    return torch.cat(list(parts))
