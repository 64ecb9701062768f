import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ffcore.cli import verbs
from ffcore.cli.main import main
from ffcore.errors import RunError, UserError
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.load import load

FAKE = str(Path(__file__).parents[1] / "plugin" / "fake.py")


@pytest.fixture
def ff(bare, capsys):
    """Call ffcore with the fake plugin alone: exit code, stdout, stderr."""

    def _ff(*args, plugin=FAKE):
        code = main(["--plugin", plugin, *map(str, args)])
        return code, *capsys.readouterr()

    return _ff


def test_help_lists_all_verbs_and_imports_none(ff):
    code, out, _ = ff("--help")
    assert code == 0
    assert all(name in out and verb.help in out for name, verb in verbs.VERBS.items())
    assert "tally" in out


def test_ls_lists_recipes_with_title_and_paper(ff):
    code, out, _ = ff("ls")
    assert code == 0
    (line,) = (line for line in out.splitlines() if "fake/ff" in line)
    assert "A fake" in line
    assert "1.37 %" in line


def test_ls_lists_components_of_a_noun(ff):
    out = ff("ls", "goodness")[1]
    (line,) = (line for line in out.splitlines() if "sum-squares" in line)
    assert "sum of squares" in line
    assert "fake" in line
    assert "did you mean 'objective'" in ff("ls", "objectve")[2]


@pytest.mark.parametrize("words", [["digits/ff"], ["recipe", "digits/ff"]])
def test_recipes_are_chosen_by_a_part_of_their_name(ff, words):
    code, out, _ = ff("ls", *words)
    names = [line.split()[0] for line in out.splitlines() if line.startswith(" digits")]
    assert code == 0
    assert {"digits/ff", "digits/ff-unsupervised"} <= set(names)
    assert all("digits/ff" in name for name in names)
    assert "`ffcore show digits/ff` prints the recipe" in out
    assert "no recipe has 'zzz' in its name; `ffcore ls` lists all" in ff("ls", "recipe", "zzz")[2]


def test_verbs_are_listed_and_their_help_is_named(ff):
    assert "Train and evaluate a recipe." in ff("ls", "command")[1]
    assert ff("ls", "command", "run")[:2] == (0, "`ffcore run --help` shows its options\n")


@pytest.mark.parametrize(("given", "width"), [("140", 140), ("0", 100), ("many", 100), (None, 100)])
def test_a_table_in_a_pipe_has_the_width_of_columns(monkeypatch, given, width):
    from ffcore.cli.console import console

    monkeypatch.delenv("COLUMNS", raising=False)
    if given is not None:
        monkeypatch.setenv("COLUMNS", given)
    assert console().width == width


def test_long_names_are_not_cut_in_a_pipe(ff, capsys):
    from ffcore.cli.console import print_table

    name = "a-very-long-name" * 10
    print_table(("name", "what"), [(name, "words " * 40)])
    assert name in capsys.readouterr().out


def test_columns_that_do_not_wrap_widen_a_pipe(capsys, monkeypatch):
    from rich.table import Table

    from ffcore.cli.console import print_whole

    monkeypatch.setenv("COLUMNS", "40")
    table = Table()
    for i in range(9):
        table.add_column(f"column{i}", no_wrap=True, min_width=10)
    table.add_row(*[f"{number},000,000" for number in range(9)])
    print_whole(table)
    assert "8,000,000" in capsys.readouterr().out


def test_a_table_loses_nothing_in_a_narrow_terminal(ff, monkeypatch, capsys):
    from ffcore.cli import console

    monkeypatch.setattr(console.Plain, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"data.label_noise-0.{i}+optimizer.lr-0.003+seed-{i}" for i in range(3)]
    rows = [(name, "12.34 ± 12.34", "98.76 ± 98.76", "1000", "123:45") for name in names]
    console.print_table(("run", "test error %", "val. error %", "epochs", "time"), rows)
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.endswith("12.34 ± 12.34   98.76 ± 98.76   1000     123:45 ") for line in lines) == 3
    assert "".join(line[:30].strip() for line in lines[3:]) == "".join(names)


def test_numbers_in_the_last_column_are_never_cut(ff, monkeypatch, capsys):
    from ffcore.cli import console

    monkeypatch.setattr(console.Plain, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    name = "cifar10/channel-resnet17-released-twin"
    console.print_table(("recipe", "title", "paper"), [(name, "a title of many words " * 6, "34.86 %")])
    console.print_table(("a", "b", "multiplications"), [(name, "words " * 20, "20,884,000,000,000")])
    heads = ("prediction", "test error", "validation error", "blocks", "multiplications", "ms a sample")
    console.print_table(heads, [("all blocks", "11.67 %", "6.94 %", "3.00", "5,082,000", "0.282")])
    out = click.unstyle(capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    for whole in (name, "34.86 %", "20,884,000,000,000", "multiplications"):
        assert whole in out


def test_show_prints_a_recipe_that_loads_back(ff, tmp_path):
    code, out, _ = ff("show", "fake/ff", "trainer.max_epochs=7")
    assert code == 0
    assert out.startswith("# A fake\n# Author 2022\n")
    path = tmp_path / "r.yaml"
    path.write_text(out)
    assert load(str(path)) == load("fake/ff", ["trainer.max_epochs=7"])


def test_show_raises_for_an_invalid_override(ff):
    code, _, err = ff("show", "fake/ff", "epochs")
    assert code == 2
    assert err == "error: 'epochs' is not an override; write path=value, such as trainer.max_epochs=2\n"


def test_plugins_prints_errors(ff):
    code, out, _ = ff("plugins")
    assert code == 0
    assert "disabled" in out
    assert "2 goodness" in out
    assert "penalty" in out


def test_schema_is_json(ff):
    assert "component.goodness" in json.loads(ff("schema")[1])["$defs"]


def test_validate_reports_every_recipe(ff, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\n")
    code, out, err = ff("validate", "fake/ff", bad, "no/such")
    assert code == 2
    assert out == "ok  fake/ff\n"
    assert "data: is missing" in err
    assert "there is no recipe 'no/such'" in err
    assert ff("validate", "fake/ff")[0] == 0


def test_only_build_imports_torch(ff, monkeypatch):
    sheet = {"blocks": [], "memory": [], "notes": [], "flash": {"int8": 1}}
    sheet |= dict.fromkeys(("parameters", "predict", "learn"), 0)

    def load_target(target):
        return lambda recipe: (f"built {recipe.name}", sheet)

    monkeypatch.setattr("ffcore.cli.building.load_target", load_target)
    assert "built fake-ff" in ff("show", "fake/ff", "--build")[1]
    assert ff("validate", "fake/ff", "--build")[0] == 0


def test_cp_keeps_comments_without_overrides(ff, tmp_path):
    mine = tmp_path / "mine.yaml"
    assert ff("cp", "fake/ff", mine)[0] == 0
    assert mine.read_text().startswith("# a comment that cp keeps\n")
    code, _, err = ff("cp", "fake/ff", mine)
    assert code == 2
    assert "already exists" in err


def test_cp_quotes_a_file_name_that_yaml_would_not_read_as_a_string(ff, tmp_path):
    for name in ("2024", "on"):
        assert ff("cp", "fake/ff", tmp_path / f"{name}.yaml")[0] == 0
        assert load(str(tmp_path / f"{name}.yaml")).name == name


def test_cp_resolves_overrides_and_bases(ff, tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    ff("cp", "fake/ff", one, "seed=9")
    assert load(str(one)).seed == 9
    one.write_text("base: fake/ff\nname: mine\n")
    ff("cp", one, two)
    assert "base" not in two.read_text()
    assert (load(str(one)).name, load(str(two)).name) == ("mine", "two")


@pytest.mark.parametrize(
    ("dest", "message"), [("x.txt", "should end in .yaml"), ("no/x.yaml", "no directory")]
)
def test_cp_raises_if_the_file_cannot_be_written(ff, tmp_path, dest, message):
    code, _, err = ff("cp", "fake/ff", tmp_path / dest)
    assert code == 2
    assert message in err


def test_a_plugin_adds_a_verb(ff):
    assert ff("tally") == (0, "counted\n", "")


def test_a_plugin_cannot_replace_a_built_in_verb(ff, tmp_path):
    plugin = tmp_path / "greedy.py"
    plugin.write_text(
        "from ffcore.plugin import hookimpl\n"
        "@hookimpl\n"
        "def ffcore_register(registry):\n"
        "    registry.command('ls', 'nowhere:ls')\n"
    )
    code, _, err = ff("ls", plugin=str(plugin))
    assert code == 2
    assert "'ls' is no name for a command: ffcore uses it itself" in err


def test_all_built_in_verbs_are_kept():
    assert set(verbs.VERBS) <= NOUNS["command"].taken


def test_a_usage_error_exits_2(ff):
    assert ff("shwo")[0] == 2
    assert ff("show")[0] == 2
    assert ff("ls", plugin="no.py")[0] == 2


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (RunError("rank 1 died"), 1, "error: rank 1 died\n"),
        (UserError("no such file"), 2, "error: no such file\n"),
        (click.exceptions.Exit(130), 130, ""),
    ],
)
def test_exit_codes(ff, monkeypatch, error, code, expected):
    @click.command()
    def failing():
        raise error

    monkeypatch.setattr(verbs, "load_target", lambda target: failing)
    result, _, err = ff("ls")
    assert (result, err.lstrip("\n")) == (code, expected)


def test_ctrl_c_interrupts(ff, monkeypatch):
    @click.command()
    def waiting():
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(verbs, "load_target", lambda target: waiting)
    code, _, err = ff("ls")
    assert (code, err.lstrip("\n")) == (130, "interrupted\n")


def test_an_error_of_ffcore_itself_is_called_a_bug(ff, monkeypatch):
    monkeypatch.setattr(verbs, "load_target", {}.__getitem__)
    line = "error (bug?): KeyError: 'ffcore.cli.ls:command'; run again with --debug for the traceback\n"
    assert ff("ls")[::2] == (1, line)


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_code_of_others_cannot_end_a_verb_as_if_it_had_finished(ff, monkeypatch, raised):
    @click.command()
    def ending():
        raise raised

    monkeypatch.setattr(verbs, "load_target", lambda target: ending)
    code, _, err = ff("ls")
    assert code == 1
    assert err.startswith(f"error: ending raised {type(raised).__name__}")
    assert err.count("\n") == 1


def test_an_error_in_a_plugin_has_its_file_and_line(ff, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import click\nfrom ffcore.plugin import hookimpl\n"
        "@click.command()\ndef failing():\n    {}['x']\n"
        "@hookimpl\ndef ffcore_register(registry):\n"
        "    registry.command('fail', 'ffcore_plugin_file_mine:failing')\n"
    )
    code, _, err = ff("fail", plugin=str(plugin))
    assert (code, err) == (
        1,
        f"error: failing raised KeyError: 'x' ({plugin}:5)\n",
    )


def test_debug_shows_the_traceback(ff, monkeypatch):
    @click.command()
    def failing():
        raise KeyError("x")

    monkeypatch.setattr(verbs, "load_target", lambda target: failing)
    with pytest.raises(KeyError):
        ff("--debug", "ls")


def test_a_warning_is_one_line_and_debug_shows_its_place(tmp_path):
    file = tmp_path / "warny.py"
    hook = "from ffcore.plugin import hookimpl\n@hookimpl\ndef ffcore_register(registry): pass\n"
    file.write_text(f"import warnings\nwarnings.warn('two\\nlines')\n{hook}")
    words = ["--plugin", str(file), "plugins"]
    for debug, expected in (([], "warning: two lines\n"), (["--debug"], f"{file}:2: UserWarning: two\n")):
        call = [sys.executable, "-m", "ffcore", *debug, *words]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        assert done.stderr.startswith(expected)


@pytest.mark.parametrize("installed", [True, False], ids=["installed-plugins", "fake-plugin"])
def test_light_verbs_do_not_import_torch(installed, tmp_path):
    prefix = [] if installed else ["--plugin", FAKE]
    recipe = "digits/ff" if installed else "fake/ff"
    calls = [["ls"], ["ls", "goodness"], ["plugins"], ["schema"], ["--help"]]
    calls += [["show", recipe], ["validate", recipe], ["cp", recipe, str(tmp_path / "x.yaml")]]
    code = (
        "import sys\n"
        "from ffcore.cli.main import main\n"
        f"assert not any([main([*{prefix!r}, *call]) for call in {calls!r}])\n"
        "heavy = {'torch', 'lightning', 'numpy', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    env = None if installed else {"FFCORE_DISABLE_PLUGINS": "all"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr


def test_python_m_is_the_same():
    done = subprocess.run(
        [sys.executable, "-m", "ffcore", "ls", "nouns"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'nouns' is not a sort of component")


def test_ls_of_a_component_lists_its_options(ff):
    code, out, _ = ff("ls", "body", "dense")
    assert code == 0
    assert "units" in out


def test_ls_shows_no_bound_that_only_keeps_out_mistakes(capsys):
    assert main(["ls", "optimizer", "adagrad"]) == 0
    assert "≥" not in capsys.readouterr().out


def test_a_group_option_after_the_verb_gives_a_hint(ff):
    code, _, err = ff("validate", "--plugin", "x.py", "fake/ff")
    assert code == 2
    assert "Write it before the verb" in err
