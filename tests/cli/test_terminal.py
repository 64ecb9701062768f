"""The command on any terminal: encodings, closed pipes, full disks, vanished directories, odd paths."""

import os
import subprocess
import sys

import pytest

from ffcore.cli.main import main

PROGRAM = [sys.executable, "-m", "ffcore"]


def ffcore(*words, cwd, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_may_lack_characters(encoding, tmp_path):
    done = ffcore("show", "digits/ff", "title=größer → 日本", cwd=tmp_path, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    if encoding == "latin-1":  # click takes ASCII for a wrong setting, and writes UTF-8
        assert "# größer \\u2192 \\u65e5".encode(encoding) in done.stdout
    assert ffcore("--help", cwd=tmp_path, PYTHONIOENCODING=encoding).returncode == 0


def test_a_reader_that_has_read_enough_is_no_interrupt(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = ffcore("schema", cwd=tmp_path, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("verb", [["--help"], ["validate", "digits/ff"]])
def test_a_full_disk_behind_standard_output_is_named(verb, tmp_path):
    with open("/dev/full", "wb") as full:
        done = ffcore(*verb, cwd=tmp_path, stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


def test_a_working_directory_that_has_been_removed_is_named(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f"cd {gone} && rmdir {gone} && {sys.executable} -m ffcore ls"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr == "error: the working directory does not exist any more; change to another directory\n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "digits/ff", "--run-dir", ""], "'--run-dir': is empty"),
        (["run", "digits/ff", "--run-dir", "~nouser/x"], "there is no user 'nouser'"),
        (["run", "digits/ff", "--run-dir", f"a/{'x' * 256}/b"], "at most 255 bytes"),
        (["run", "digits/ff", "--run-dir", "b\udce9"], r"'b\udce9' is not UTF-8 text"),
        (["eval", "x" * 256], "at most 255 bytes"),
        (["cp", "digits/ff", "/proc/x.yaml"], "'/proc/x.yaml' cannot be written"),
        (["run", "digits/ff", "--seeds", "1," + "9" * 5000], "should be integers"),
        (["run", "digits/ff", "--max-time", "9" * 5000], "is not a time"),
        (["--plugin", "x" * 300, "ls"], "no plugin file 'xxx"),
        (["run", "digits/ff", "name=" + "x" * 201], "at most 200 bytes"),
        (["validate", "--build", "digits/ff", "network.0.name=train"], "network.0.name: 'train1' is"),
    ],
)
def test_an_impossible_name_is_refused(words, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "train1" in expected:
        words, expected = [*words, "network.0.repeat=1"], expected.replace("train1", "train")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err
    assert list(tmp_path.iterdir()) == []


def test_the_home_directory_is_found_in_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note").touch()
    assert main(["run", "digits/ff", "--run-dir=~/full"]) == 2
    assert f"run directory {tmp_path}/full: not empty" in capsys.readouterr().err


def test_a_network_larger_than_the_memory_is_refused(capsys):
    words = ["network.0.units=1000000", "network.0.repeat=2"]
    assert main(["validate", "--build", "digits/ff", *words]) == 2
    assert "a tensor of 1000000 × 1000000 numbers needs" in capsys.readouterr().err
