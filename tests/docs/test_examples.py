"""Every example runs and gives the documented result."""

import importlib.util
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
LIGHTNING = ("ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:Checkpoint directory")


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "own_loop",
        "own_model",
        "own_lightning",
        "one_step",
        "gpt",
        "masked_tokens",
        "unet",
        "gru",
        "regression",
        "graph",
        "edge_learn",
        "edge_adapt",
    }


def test_an_own_loop_learns_a_table(capsys):
    assert load("own_loop").main() > 0.9
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.filterwarnings(*LIGHTNING)
def test_lightning_trains_selects_and_tests(tmp_path):
    with torch.random.fork_rng():
        assert load("own_lightning").main(str(tmp_path)) > 0.7


def test_a_step_by_hand_shows_three_blocks(capsys):
    steps = load("one_step").main()
    assert [step.block for step in steps] == ["dense1", "dense2", "dense3"]
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "least"),
    [
        pytest.param("gpt", 0.98, marks=pytest.mark.thorough),
        pytest.param("unet", 0.85, marks=pytest.mark.thorough),
        pytest.param("gru", 0.9, marks=pytest.mark.thorough),
        pytest.param("masked_tokens", 0.9, marks=pytest.mark.thorough),
        ("regression", 0.95),
        ("graph", 0.9),
    ],
)
def test_other_targets_and_inputs_are_learned(name, least, capsys):
    with torch.random.fork_rng():
        assert load(name).main() > least
    assert capsys.readouterr().out


@pytest.mark.thorough
def test_a_process_without_torch_learns(capsys):
    assert load("edge_learn").main() > 0.9
    assert "random weights" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_device_adapts_and_forgets_less_with_a_memory(capsys):
    found = load("edge_adapt").main()
    for accuracies in found.values():
        assert accuracies["after"][1] > accuracies["before"][1] + 0.3
    assert found["with 100 ordinary images"]["after"][0] > found["without memory"]["after"][0] + 0.1
    assert capsys.readouterr().out


def test_a_model_of_another_package_learns(capsys):
    pytest.importorskip("efficientnet_pytorch", reason="the example's package is no dependency of ffcore")
    threads = torch.get_num_threads()
    of_blocks, of_model = load("own_model").main()
    torch.set_num_threads(threads)
    assert of_blocks > 0.5
    assert of_model > 0.5
