"""A sweep is not resumed when recipes that it has still to run are not valid."""

from pathlib import Path

import pytest

from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.sweeps import create
from ffcore.sweeps.checking import Facts

PLUGIN = """
from ffcore.plugin import hookimpl
@hookimpl
def ffcore_register(registry):
    registry.goodness("mine", "ffcore_goodness.energies:HuberNorm")
"""
MISSING = r"sweep: it used the plugin file inky\.py, which is not loaded; give `ffcore --plugin inky\.py …`"


@pytest.fixture(autouse=True)
def plugin_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ffcore.sweeps.checking.checker", lambda: lambda recipe: Facts(True, None, False))
    Path("inky.py").write_text(PLUGIN)
    manager.use(manager.Plugins.load(["inky.py"]))
    yield
    manager.use(None)


def begin(override, **options):
    overrides = ["block.goodness.kind=mine", override]
    command = "ffcore --plugin inky.py sweep digits/ff …"
    return create.create("digits/ff", overrides, (), options, run_dir=Path("sweep"), command=command)


def test_a_search_without_its_plugin_is_refused_before_a_trial_is_used_up():
    begin("optimizer.lr=log:1e-4:1e-1", trials=2)
    before = Path("sweep/summary.json").read_text()
    manager.use(None)
    with pytest.raises(UserError, match=MISSING):
        create.reopened(Path("sweep"), trials=4)
    assert Path("sweep/summary.json").read_text() == before
    manager.use(manager.Plugins.load(["inky.py"]))
    assert create.reopened(Path("sweep"), trials=4).search.trials == 4


def test_a_grid_without_its_plugin_is_refused_unless_all_runs_have_results():
    sweep = begin("optimizer.lr=1e-3,1e-2")
    manager.use(None)
    with pytest.raises(UserError, match=MISSING):
        create.reopened(Path("sweep"))
    for run in sweep.runs:
        (sweep.folder / run.name).mkdir()
        (sweep.folder / run.name / "results.json").write_text('{"epochs": 1}')
    assert len(create.reopened(Path("sweep")).runs) == 2
