"""How public names go: marks that type checkers see, one warning a call site, and an end that comes."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest
from mypy import api

import ffcore
from ffcore.deprecation import deprecated, renamed_argument

ROOT = Path(__file__).parents[1]
FORM = re.compile(r"\S+ is deprecated since (\d+\.\d+) and will be removed in (\d+\.\d+): use \S.*")
MESSAGE = "ffcore.old is deprecated since 0.3 and will be removed in 0.5: use ffcore.new"


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def uses() -> list[ast.Call]:
    """Every use of the decorator in the tree."""
    files = [*(ROOT / "ffcore").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return [call for call in calls if getattr(call.func, "id", None) == "deprecated"]


def test_a_mark_has_a_literal_message_in_one_form_and_its_end_has_not_come():
    assert FORM.fullmatch(MESSAGE)
    for call in uses():
        match = FORM.fullmatch(ast.literal_eval(call.args[0]))
        assert match, ast.unparse(call)
        since, removal = map(number, match.groups())
        assert removal[0] > since[0] or removal[1] >= since[1] + 2, ast.unparse(call)
        assert number(ffcore.__version__) < removal, f"{ast.unparse(call)}: remove it now"


def test_a_call_warns_where_it_stands_and_once():
    @deprecated(MESSAGE)
    def old() -> int:
        return 1

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(3):
            assert old() == 1
    (warning,) = seen
    assert warning.category is DeprecationWarning
    assert warning.filename == __file__
    assert str(warning.message) == MESSAGE


def test_a_class_warns_when_it_is_made():
    @deprecated(MESSAGE)
    class Old:
        pass

    with pytest.warns(DeprecationWarning, match=r"use ffcore\.new"):
        assert isinstance(Old(), Old)


def test_an_old_keyword_is_taken_for_the_new_one():
    @renamed_argument("colour", "shade", since="0.3", removal="0.5")
    def paint(shade: str = "blue") -> str:
        return shade

    assert paint() == "blue"
    assert paint(shade="red") == "red"
    with pytest.warns(DeprecationWarning, match=r"paint\(colour=\) is deprecated since 0\.3") as seen:
        assert paint(colour="red") == "red"
    assert seen[0].filename == __file__
    assert re.search(r"will be removed in 0\.5: use shade=$", str(seen[0].message))
    with pytest.raises(TypeError, match="got 'shade' and its old name 'colour'"):
        paint(colour="red", shade="red")


def test_type_checkers_see_the_mark(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from typing_extensions import deprecated\n"
        f"@deprecated({MESSAGE!r})\n"
        "def old() -> None: ...\n"
        "old()\n",
        encoding="utf-8",
    )
    out, _, status = api.run(
        ["--enable-error-code=deprecated", f"--cache-dir={tmp_path}", "--config-file=", str(script)]
    )
    assert status == 1
    assert "use ffcore.new" in out
