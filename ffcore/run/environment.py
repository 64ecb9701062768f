"""What a run was made with: versions, commit, device, memory."""

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
    """Versions of Python and of what the numbers depend on."""
    found = {"python": platform.python_version(), "ffcore": ffcore.__version__}
    found |= _installed()
    found["torch"] = str(torch.__version__)  # with +cpu or the version of CUDA
    return found | {f"plugin {name}": which for name, which in plugins().items()}


@cache
def _installed() -> dict[str, str]:
    """Read once: it parses the metadata of each package."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def plugins() -> dict[str, str]:
    """Version of each plugin that is not ffcore's own, or what identifies the file that it is."""
    found = {}
    for info in manager.current().infos:
        if info.status == "ok" and info.origin != "ffcore":
            file = Path(info.origin)
            checksum = f"sha256:{sha256(file)[:12]}" if file.is_file() else "?"
            found[info.name] = info.version or checksum
    return found


def git_commit() -> str | None:
    """Commit of ffcore's own checkout, "-dirty" where it was changed; None where ffcore was installed."""
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
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.machine()})"


def forget_peak(device: torch.device) -> None:
    """Let a GPU's largest memory begin anew, so that a program's next run has its own."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Largest memory so far in bytes: allocated on a GPU, else resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
