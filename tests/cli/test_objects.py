"""The command line on runs and recipes with objects from Python."""

import subprocess
import sys

import pytest
import torch
import yaml
from torch import nn

import ffcore
from ffcore.cli.main import main
from ffcore.plugin import manager


@pytest.fixture(autouse=True)
def installed():
    manager.use(None)
    yield
    manager.use(None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a module in its network."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    network = [nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU()), {"kind": "dense", "units": 30}]
    more = {"trainer": {"max_epochs": 1, "threads": 1}, "optimizer": torch.optim.Adam}
    return ffcore.train("digits/ff", run_dir=folder, network=network, report=False, **more)


def line(run):
    return f"{run.path / 'config.yaml'}:33  network.0: Sequential((0): Flatten"


@pytest.mark.parametrize("verb", [["eval"], ["eval", "--probe"]], ids=" ".join)
def test_a_run_with_objects_can_only_be_evaluated_from_python(run, capsys, verb):
    assert main([*verb, str(run.path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {line(run)}")
    assert "was given from Python and is not in the file; pass it again from Python" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("verb", ["run", "validate", "show"])
def test_its_config_alone_is_not_a_recipe(run, capsys, verb):
    assert main([verb, str(run.path / "config.yaml")]) == 2
    assert line(run) in capsys.readouterr().err


def test_a_run_with_objects_can_only_be_resumed_from_python(run, capsys, tmp_path):
    (tmp_path / "config.yaml").write_text((run.path / "config.yaml").read_text())
    assert main(["run", "--resume", str(tmp_path)]) == 2
    assert "network.0: Sequential((0): Flatten" in capsys.readouterr().err


def test_its_report_can_be_written(run, capsys):
    assert main(["report", str(run.path)]) == 0
    assert (run.path / "report.md").is_file()


def test_targets_are_trained_and_evaluated_from_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ffcore.run.train.write_report", lambda *args: None)
    words = ["optimizer={kind: torch.optim:Adagrad, lr: 0.02}", "block.optimizer=torch.optim:SGD"]
    words += ["trainer.max_epochs=1", "trainer.threads=1", "network.0.units=30"]
    assert main(["run", "digits/ff", *words, "--run-dir", str(tmp_path / "run")]) == 0
    recorded = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert {"kind": "torch.optim:Adagrad", "lr": 0.02}.items() <= recorded["optimizer"].items()
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert main(["run", "digits/ff", "optimizer=no_such:Thing", "--run-dir", str(tmp_path / "other")]) == 2
    assert "optimizer: 'no_such:Thing' cannot be imported" in capsys.readouterr().err


def test_a_target_is_validated_without_importing_it(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "base: digits/ff\noptimizer: {kind: 'torch.optim:SGD', lr: 0.1}\nlr_schedule: 'torch:sign'\n"
        "network: [{kind: dense, units: 3}, {kind: blackbox, box: 'torch:sign'}, {kind: dense, units: 3}]\n"
    )
    code = (
        "import sys\n"
        "from ffcore.cli.main import main\n"
        f"assert not main(['validate', {str(recipe)!r}]) and not main(['show', {str(recipe)!r}])\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kind: torch.optim:SGD" in done.stdout
