"""`ffcore check`: the conformance kit without pytest."""

import pytest

from ffcore.cli.main import main
from ffcore.plugin import manager

GOOD = '''
from ffcore.interfaces import Goodness
from ffcore.plugin import hookimpl


class Mean(Goodness):
    """Mean of squares."""

    def forward(self, activity):
        """(R, *shape) → (R,)."""
        return activity.square().flatten(1).mean(1)


@hookimpl
def ffcore_register(registry):
    registry.goodness("my-mean", Mean)
'''
OF_THE_BATCH = GOOD.replace("flatten(1).mean(1)", "flatten(1).mean(1) - activity.mean()")
SLIP = GOOD.replace("return activity", "nothing = {}['k']\n        return activity")


@pytest.fixture
def check(tmp_path, capsys):
    """Checks a plugin file with this text: exit code, output, errors."""

    def _check(text, name="check_me"):
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        return main(["check", str(path)]), *capsys.readouterr()

    yield _check
    manager.use(None)


def test_a_correct_plugin_is_ok(check):
    code, out, _ = check(GOOD)
    assert code == 0
    (line,) = (line for line in out.splitlines() if "my-mean" in line)
    assert line.split()[:2] == ["goodness", "my-mean"]
    assert line.split()[-1] == "ok"


def test_a_broken_contract_says_what_was_compared_in_which_mode_and_the_remedy(check):
    code, out, _ = check(OF_THE_BATCH)
    assert code == 1
    assert "failed  goodness my-mean: of a row depends on that row alone" in out
    assert "found:   the goodness of a row depends on other rows" in out
    assert "checked: The goodness of a row does not depend on other rows" in out
    assert "mode:    " in out
    assert "couples_samples = True and reads_views = True" in out


def test_a_slip_is_reported_once_with_its_line(check):
    code, out, _ = check(SLIP)
    assert code == 1
    assert out.count("\nfailed  ") == 1
    assert "KeyError: 'k'" in out
    assert "check_me.py:11" in out
    assert "more checks of goodness my-mean end in the same way" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            GOOD.replace("return activity.square().flatten(1).mean(1)", "pass"),
            "forward of Mean returned None",
        ),
        (
            GOOD.replace("    def forward", "    def __init__(self):\n        self.x = 1\n\n    def forward"),
            "super",
        ),
    ],
)
def test_a_slip_is_named_as_in_a_run(check, text, words):
    code, out, _ = check(text)
    assert code == 1
    assert out.count("\nfailed  ") == 1
    assert words in out
    assert "check_me.py:" in out


def test_a_plugin_without_components_is_refused(check):
    code, _, errors = check(GOOD.replace('registry.goodness("my-mean", Mean)', "pass"), "empty")
    assert code == 2
    assert "it registers no component" in errors


def test_what_cannot_be_checked_is_refused(check, capsys, tmp_path):
    assert main(["check", "no-such-plugin"]) == 2
    assert "no working plugin 'no-such-plugin'" in capsys.readouterr().err
    (tmp_path / "pyproject.toml").write_text(
        '[project.entry-points."ffcore.plugins"]\nnot-installed = "nowhere.plugin"\n'
    )
    assert main(["check", str(tmp_path)]) == 2
    assert "plugin not-installed is not installed" in capsys.readouterr().err


def test_the_package_of_a_new_plugin_is_to_be_installed_first(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "plugin", "my-thing", "--noun", "goodness"]) == 0
    assert main(["check", "my-thing"]) == 2
    assert "my-thing is not installed; install it first: pip install -e my-thing" in capsys.readouterr().err
