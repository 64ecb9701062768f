"""Types as a user sees them: a program on all levels passes `mypy --strict`, and runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from mypy import api

import ffcore

USER = Path(__file__).parent / "user.py"
HOME = Path(ffcore.__file__).parents[1]


def check(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What mypy says of a file, with no settings but --strict."""
    monkeypatch.chdir(path.parent)
    out, err, _ = api.run(["--strict", "--config-file=", f"--cache-dir={cache}", path.name])
    return out + err


@pytest.mark.skipif(
    HOME.name != "site-packages", reason="mypy reads torch: only of a wheel, nox -s tests-wheel"
)
def test_a_users_program_is_checked_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = USER.read_text(encoding="utf-8")
    (tmp_path / "user.py").write_text(code, encoding="utf-8")
    said = check(tmp_path / "user.py", tmp_path / "cache", monkeypatch)
    assert said.startswith("Success: no issues found in 1 source file"), said

    wrong = code.replace("Logistic(threshold=2.0)", "Logistic(treshold=2.0)").replace(
        "assert_type(losses, dict[str, Tensor])", "losses.mean()"
    )
    (tmp_path / "wrong.py").write_text(wrong, encoding="utf-8")
    said = check(tmp_path / "wrong.py", tmp_path / "cache", monkeypatch)
    assert 'Unexpected keyword argument "treshold" for "Logistic"' in said
    assert '"dict[str, Tensor]" has no attribute "mean"' in said


def test_a_users_program_runs(tmp_path: Path) -> None:
    runpy.run_path(str(USER))["main"](str(tmp_path))
    assert (tmp_path / "fit").is_dir()
    assert (tmp_path / "train").is_dir()
