from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ffcore.data.download import fetch
from ffcore.data.mnist import Mnist
from ffcore.errors import UserError

CONTENT = b"a small file" * 1000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """/good/ sends the file, /wrong/ another, /cut/ the first half; other paths do not exist."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, folder: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{folder}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        folder = self.path.split("/")[1]
        body = {"good": CONTENT, "wrong": CONTENT[::-1], "cut": CONTENT[: len(CONTENT) // 2]}.get(folder)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", "0" if body is None else str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_good_download_is_kept_under_its_name(server: Server, tmp_path: Path) -> None:
    path = fetch("file.gz", [server.url("good")], CHECKSUM, tmp_path / "new/folder")
    assert path == tmp_path / "new/folder/file.gz"
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("wrong", "wrong checksum"), ("cut", "ChunkedEncodingError"), ("none", "HTTP status 404")],
)
def test_a_failed_download_leaves_nothing_and_gives_the_reason(
    server: Server, tmp_path: Path, folder: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        fetch("file.gz", [server.url(folder)], CHECKSUM, tmp_path)
    assert server.url(folder) + "file.gz" in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as closed:
        url = closed.url("good")
    with pytest.raises(UserError, match="ConnectionError"):
        fetch("file.gz", [url], CHECKSUM, tmp_path)


@pytest.mark.parametrize("first", ["wrong", "cut", "none"])
def test_the_second_mirror_is_tried(server: Server, tmp_path: Path, first: str) -> None:
    path = fetch("file.gz", [server.url(first), server.url("good")], CHECKSUM, tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [f"/{first}/file.gz", "/good/file.gz"]


def test_a_directory_that_cannot_be_made_is_a_user_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not download"):
        fetch("file.gz", [server.url("good")], CHECKSUM, tmp_path / "file")


def local(server: Server, folder: str) -> type[Mnist]:
    class Local(Mnist):
        mirrors = (server.url(folder),)
        checksums = dict.fromkeys(Mnist.checksums, CHECKSUM)

    return Local


def test_nothing_is_downloaded_by_default_with_a_root(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="download=true"):
        local(server, "good")(str(tmp_path), download=False).load()
    assert server.asked == []


def test_a_set_is_downloaded_into_its_own_directory(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an IDX file"):  # a verified file, and still not images
        local(server, "good")(str(tmp_path), download=True).load()
    assert len(list((tmp_path / "MNIST/raw").iterdir())) == 4


def test_existing_files_are_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    for file in Mnist.checksums:
        (tmp_path / file).write_bytes(b"mine")
    with pytest.raises(UserError, match="not an IDX file"):
        local(server, "good")(str(tmp_path), download=True).load()
    assert server.asked == []
