"""Files of others: regular files of limited size are read, all else is a UserError of one line."""

import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ffcore import reading
from ffcore.errors import UserError


def pipe(path: Path) -> None:
    os.mkfifo(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**43)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "Is a directory"),
        (pipe, "Is a named pipe, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "Is a device, not a file"),
        (sparse, "has 8.0 TiB"),
        (lambda path: None, "No such file"),
        (lambda path: path.symlink_to(path), "Too many levels"),
    ],
)
@pytest.mark.parametrize(
    "read", [reading.read_bytes, reading.read_json, reading.read_arrays, reading.read_text]
)
def test_only_regular_files_of_limited_size_are_read(tmp_path: Path, make, reason: str, read) -> None:
    make(tmp_path / "file")
    with pytest.raises(UserError, match=f"file: .*{reason}") as raised:
        read(tmp_path / "file")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\0", b"[" * 10**6, b'{"a": "\\ud800"}', b'{"a": NaN}', b"[]", b""]
)
def test_what_is_not_a_mapping_in_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(UserError, match=r"file\.json"):
        reading.read_json(tmp_path / "file.json")


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="names: is not text in UTF-8: byte 0xe9 at position 3"):
        reading.read_text(tmp_path / "names")


def header(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def encrypted(path: Path) -> None:
    np.savez(path, x=np.zeros(3))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)


def unknown_compression(path: Path) -> None:
    np.savez(path, x=np.zeros(3))
    data = bytearray(path.read_bytes())
    for signature, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(signature) + method] = 99
    path.write_bytes(data)


def claiming(*shape: int):
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", header(shape) + b"\0" * 80)

    return make


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (encrypted, "is encrypted"),
        (unknown_compression, "compression method is not supported"),
        (claiming(10**13), "cannot be read"),
        (claiming(12 * 2**27), "cannot be read"),
        (claiming(2**40, 2**40), "cannot be read"),
        (claiming(*[1] * 70), "cannot be read"),
        (lambda path: np.savez(path, x=np.array([{}])), "Python objects are not read"),
    ],
)
def test_a_damaged_npz_file_is_refused_with_its_member(tmp_path: Path, make, reason: str) -> None:
    make(tmp_path / "a.npz")
    with pytest.raises(UserError, match=rf"a\.npz: x: .*{reason}"):
        reading.read_arrays(tmp_path / "a.npz")


def test_members_that_are_not_asked_for_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3), notes=np.array([{}]))
    assert list(reading.read_arrays(tmp_path / "a.npz", ("x", "y"))) == ["x"]
    assert reading.names_of_arrays(tmp_path / "a.npz") == ["x", "notes"]


@pytest.mark.parametrize("name", ["~nouser/x", "a" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        reading.expanded(name)


def test_the_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reading.expanded("~/x") == tmp_path / "x"
