"""Brings runs back in files of a limited size, and makes run directories of them again.

A run that fits is kept with its newest checkpoint, and can be resumed. Of one that does not, the weights are
kept in bfloat16, without the state of the optimisers; if these do not fit either, its tables alone.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import torch

MIB = 2**20
PART = 15 * MIB
"""Bytes of a file, a little less than the 16 MiB that may come back."""

TABLES = ("config.yaml", "metrics.csv", "results.json")
LAST = "checkpoints/last.ckpt"


def keep(runs: Iterable[Path], out: Path, files: int, total: int) -> dict[str, str]:
    """Write run directories into parts ``NAME.tar.00``, …; the first ones have the most space.

    Args:
        runs: the run directories, in the order of their value.
        out: where the parts are written; those of before are replaced.
        files: number of files that may be written.
        total: bytes of all of them.

    Returns:
        by run "whole", "weights", "tables", or "left out".
    """
    for old in out.glob("*.tar.*"):
        old.unlink()
    how: dict[str, str] = {}
    for run in runs:
        if not run.is_dir():
            continue
        how[run.name] = "left out"
        for kind in ("whole", "weights", "tables"):
            made = _packed(run, kind)
            parts = [made[start : start + PART] for start in range(0, len(made), PART)]
            if len(parts) <= files and len(made) <= total:
                for number, part in enumerate(parts):
                    (out / f"{run.name}.tar.{number:02}").write_bytes(part)
                files, total = files - len(parts), total - len(made)
                how[run.name] = kind
                break
    return how


def restore(out: Path, folder: Path) -> list[str]:
    """Make run directories of the parts, unless they exist; return their names."""
    made = []
    for first in sorted(out.glob("*.tar.00")):
        name = first.name.removesuffix(".tar.00")
        if (folder / name).exists():
            continue
        whole = b"".join(part.read_bytes() for part in sorted(out.glob(f"{name}.tar.*")))
        with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
            archive.extractall(folder / name, filter="data")
        made.append(name)
    return made


def _packed(run: Path, kind: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for name in TABLES:
            if (run / name).exists():
                archive.add(run / name, name)
        if kind != "tables" and (run / LAST).exists():
            content = (run / LAST).read_bytes() if kind == "whole" else _weights(run / LAST)
            about = tarfile.TarInfo(LAST if kind == "whole" else "weights.pt")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return file.getvalue()


def _weights(checkpoint: Path) -> bytes:
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    half = {name: t.bfloat16() if t.is_floating_point() else t for name, t in state.items()}
    file = io.BytesIO()
    torch.save(half, file)
    return file.getvalue()
