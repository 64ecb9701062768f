"""The environment of a run: versions, commit, device, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import ffcore
from ffcore.data.digest import sha256
from ffcore.plugin import manager

_PACKAGES = ("torch", "lightning", "torchmetrics", "numpy", "pydantic", "pluggy", "scikit-learn")


def versions() -> dict[str, str]:
    """Returns the versions of Python, of the packages that results depend on, and of plugins."""
    result = {"python": platform.python_version(), "ffcore": ffcore.__version__}
    result |= _installed()
    result["torch"] = str(torch.__version__)  # with +cpu or the version of CUDA
    return result | {f"plugin {name}": which for name, which in plugins().items()}


@cache
def _installed() -> dict[str, str]:
    """Versions of the installed packages. Cached, since ``version`` parses the metadata of each package."""
    result = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            result[package] = version(package)
    return result


def plugins() -> dict[str, str]:
    """Returns the version of each plugin that is not part of ffcore; for a single file, its checksum."""
    result = {}
    for info in manager.current().infos:
        if info.status == "ok" and info.origin != "ffcore":
            file = Path(info.origin)
            checksum = f"sha256:{sha256(file)[:12]}" if file.is_file() else "?"
            result[info.name] = info.version or checksum
    return result


def git_commit() -> str | None:
    """Returns the commit of ffcore's checkout, with "-dirty" if it has changes; None outside a checkout."""
    # The current directory may be another repository: ask for the one that this file is in, if it is
    # ffcore's.
    root = Path(__file__).parents[2]
    project = root / "pyproject.toml"
    if not (project.is_file() and 'name = "ffcore"' in project.read_text(encoding="utf-8")):
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}-dirty" if _git(root, "status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 (fixed words)
        ["git", *words],  # noqa: S607 (whichever git the user has)
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def device_name(device: torch.device) -> str:
    """Returns the name of the device for ``results.json``."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = cpu_model(Path("/proc/cpuinfo"))
    return f"cpu ({f'{model}, ' if model else ''}{platform.machine()})"


def cpu_model(table: Path) -> str:
    """Returns the model of the processor from the table of Linux; elsewhere what Python knows, or "".

    Args:
        table: the file /proc/cpuinfo.
    """
    with suppress(OSError):
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    processor = platform.processor()
    return "" if processor == platform.machine() else processor


def peak_memory() -> int:
    """Returns the peak of the memory in bytes that is resident in this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB on Linux
