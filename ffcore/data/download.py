"""Downloads files and archives: verified first, then renamed, so that an existing file is always complete."""

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
from ffcore.reading import expanded


def data_home() -> Path:
    """Returns the directory for data sets: the environment variable FFCORE_DATA, or the user's cache."""
    import pooch

    return expanded(os.environ.get("FFCORE_DATA") or pooch.os_cache("ffcore"))


def home_of(name: str, root: str | os.PathLike[str] | None, *, download: bool | None) -> Path:
    """Returns the directory for a data set: the given one, or that for all data sets.

    Args:
        name: the data set.
        root: the given directory; None if none was given.
        download: whether missing files are downloaded, and the directory is made; None if they cannot be.

    Raises:
        UserError: the given directory does not exist.
    """
    base = expanded(root) if root else data_home()
    if root and not download and not base.is_dir():
        problem = "is not a directory" if base.exists() else "there is no such directory"
        instead = "" if download is None else ", or data.download=true to download them"
        raise UserError(f"{name}: data.root: {base}: {problem}; give the directory of the files{instead}")
    return base


def fetch(file: str, mirrors: Sequence[str], checksum: str, folder: Path) -> Path:
    """Download `file` into `folder`, from the first mirror that has it.

    Args:
        file: its name, on the mirrors and in the directory.
        mirrors: URLs that end in a slash, tried in order.
        checksum: the checksum of the file, as `algorithm:hex`.
        folder: the target directory; created if missing.

    Returns:
        The path of the verified file.

    Raises:
        UserError: the download failed from all mirrors, or the directory cannot be written.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")  # its messages would interrupt the progress bar
    failures = []
    for mirror in mirrors:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        ) as progress:
            # identity: some hosts declare .gz as a content encoding, and requests would decompress the file
            downloader = pooch.HTTPDownloader(
                progressbar=_Bar(progress, file),
                chunk_size=1 << 16,
                timeout=30,
                headers={"Accept-Encoding": "identity"},
            )
            try:
                pooch.retrieve(mirror + file, checksum, fname=file, path=folder, downloader=downloader)
            except (OSError, ValueError) as error:  # errors of requests are OSErrors
                failures.append(f"{mirror + file}: {_reason(error)}")
            else:
                return folder / file
    raise UserError(
        f"could not download {file} to {folder}: {'; '.join(failures)}; or set data.root=DIRECTORY"
    )


def find_folder(
    name: str,
    files: Sequence[str],
    folder: str,
    root: str | Path | None,
    download: bool,
    archive: str,
    mirrors: Sequence[str],
    checksum: str,
) -> Path:
    """Return the directory with all files of a data set: ROOT/FOLDER, ROOT, or the one that was downloaded.

    Args:
        name: name of the data set, for messages.
        files: names of the files.
        folder: FOLDER.
        root: ROOT; None: `data_home`.
        download: whether to download the archive if there is no file at all.
        archive: as for `fetch_folder`, and so the arguments after it.
        mirrors: see there.
        checksum: see there.

    Raises:
        UserError: some files are missing, or all of them and they could not be downloaded.
    """
    base = home_of(name, root, download=download)
    for place in (base / folder, base):
        missing = [file for file in files if not (place / file).is_file()]
        if not missing:
            return place
        if len(missing) < len(files):
            raise UserError(
                f"{name}: no {' and no '.join(missing)} in {place}, which has other files of the data set; "
                f"put all files of {archive} there, or remove the others"
            )
    if not download:
        raise UserError(
            f"{name}: no {files[0]} in {base / folder} or {base}; set data.root=DIRECTORY to the directory "
            "of the files, or data.download=true"
        )
    return fetch_folder(archive, mirrors, checksum, base / folder)


def fetch_folder(archive: str, mirrors: Sequence[str], checksum: str, folder: Path) -> Path:
    """Download a tar archive and unpack the directory in it; the archive is removed afterwards.

    Args:
        archive: its name on the mirrors.
        mirrors: URLs that end in a slash, tried in order.
        checksum: the checksum of the archive, as `algorithm:hex`.
        folder: the target of the directory of the same name in the archive; its parents are created.

    Returns:
        The path of the directory.

    Raises:
        UserError: as for `fetch`; or the archive is damaged, has no such directory, or has unsafe paths.
    """
    packed = fetch(archive, mirrors, checksum, folder.parent)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            with tarfile.open(packed) as tar:
                tar.extractall(scratch, filter="data")  # raises for paths outside of the target
            made = Path(scratch) / folder.name
            if made.is_symlink() or not made.is_dir():
                raise tarfile.ReadError("it has no such directory")
            made.rename(folder)
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{packed}: could not be unpacked to {folder}: {one_line(error)}") from error
    packed.unlink(missing_ok=True)
    return folder


class _Bar:
    """The interface of a progress bar that pooch expects, implemented with rich."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None)

    @property
    def total(self) -> float | None:
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)  # 0: the server did not send the size

    def update(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Does nothing: rich closes the bar, also if the download fails."""


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "wrong checksum" if "hash" in str(error) else str(error)
