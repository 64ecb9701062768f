"""A short form of ``folders.py``: damaged run folders give one line. ``nox -s faults`` runs the long one."""

import runpy
from pathlib import Path

import pytest

from ffcore.report import document

FOLDERS = Path(__file__).with_name("folders.py")


def test_damaged_folders_are_read_or_refused_in_one_line(monkeypatch):
    # without pictures, which would take most of the time
    monkeypatch.setattr(
        document.Document, "_plate", lambda self, picture, folder: document.Plate("x", "", 1.0, "")
    )
    failures = []
    counts = runpy.run_path(str(FOLDERS))["run"](16, 1, failures.append)
    assert not failures, "\n".join(failures)
    assert counts["fine"]
    assert counts["refused"]


def test_success_without_a_result_is_a_bug():
    assert runpy.run_path(str(FOLDERS))["outcome"](0, "", made=False) == "bug"


@pytest.mark.parametrize(
    ("code", "printed", "expected"),
    [
        (0, "", "fine"),
        (0, "report section 'goodness' failed: ValueError: shapes", "fine"),
        (0, "report section 'goodness' failed: IndexError: 3", "bug"),
        (2, "error: x: not JSON", "refused"),
        (2, "x: not JSON", "bug"),
        (1, "error (bug?): KeyError: 'a'", "bug"),
        (-11, "", "bug"),
    ],
)
def test_outcomes_differ(code, printed, expected):
    assert runpy.run_path(str(FOLDERS))["outcome"](code, printed) == expected
