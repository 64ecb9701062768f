"""Fetching a file or a folder: verified, then renamed into place, so that a name that is there is whole."""

from __future__ import annotations

import lzma
import os
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ffcore.errors import UserError, one_line


def data_home() -> Path:
    """The folder for data sets: the environment variable FFCORE_DATA, or else the user's cache folder."""
    import pooch

    return Path(os.environ.get("FFCORE_DATA") or pooch.os_cache("ffcore")).expanduser()


def fetch(file: str, mirrors: Sequence[str], checksum: str, folder: Path) -> Path:
    """Download `file` into `folder`, from the first mirror that has it.

    Args:
        file: its name, on the mirrors and in the folder.
        mirrors: URLs that end in a slash, tried in turn.
        checksum: what the bytes must hash to, as `algorithm:hex`.
        folder: where it goes; made if need be.

    Returns:
        The path of the verified file.

    Raises:
        UserError: no mirror gave the file, or the folder cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # the bar says it better
    failures = []
    for mirror in mirrors:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        ) as progress:
            # identity: some hosts call .gz an encoding of the content, and requests would unpack it
            downloader = pooch.HTTPDownloader(
                progressbar=_Bar(progress, file),
                chunk_size=1 << 16,
                timeout=30,
                headers={"Accept-Encoding": "identity"},
            )
            try:
                pooch.retrieve(mirror + file, checksum, fname=file, path=folder, downloader=downloader)
            except (OSError, ValueError) as error:  # requests' own errors are OSErrors
                failures.append(f"{mirror + file}: {_reason(error)}")
            else:
                return folder / file
    raise UserError(f"could not download {file} to {folder}: {'; '.join(failures)}; or set data.root=FOLDER")


def fetch_folder(archive: str, mirrors: Sequence[str], checksum: str, folder: Path) -> Path:
    """Download a tar archive, and unpack the folder in it; the archive is not kept.

    Args:
        archive: its name on the mirrors.
        mirrors: URLs that end in a slash, tried in turn.
        checksum: what the archive's bytes must hash to, as `algorithm:hex`.
        folder: where the folder of that name in the archive goes; its parents are made if need be.

    Returns:
        The path of the folder.

    Raises:
        UserError: as for `fetch`, or the archive is damaged, holds no such folder, or would leave it.
    """
    packed = fetch(archive, mirrors, checksum, folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            with tarfile.open(packed) as tar:
                tar.extractall(scratch, filter="data")
            made = Path(scratch) / folder.name
            if made.is_symlink() or not made.is_dir():
                raise tarfile.ReadError("there is no such folder in it")
            made.rename(folder)
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        said = one_line(error)
        raise UserError(f"{packed}: could not be unpacked to {folder}: {said}") from error
    packed.unlink(missing_ok=True)
    return folder


class _Bar:
    """What pooch expects of a progress bar, on top of rich's."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)  # 0: the server did not say

    def update(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Nothing: rich closes it, also when the download fails, which pooch does not."""


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "wrong checksum" if "hash" in str(error) else str(error)
