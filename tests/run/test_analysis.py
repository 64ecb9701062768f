"""What representations of finished runs and of networks are like."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ffcore
from ffcore.analysis import Analysis, effective_rank, linear_cka, population_sparsity
from ffcore.cli.main import main
from ffcore.data.split import some
from ffcore.errors import UserError
from ffcore.run.analysis import analyse_run
from ffcore.run.data import Data
from ffcore.run.evaluate import evaluate
from ffcore.tasks import Regression

SMALL = {"network.0.units": 40, "trainer.max_epochs": 1, "trainer.threads": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A small digits/ff and its backpropagation twin."""
    folder = tmp_path_factory.mktemp("analysed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffcore.run.train.write_report", lambda *args: None)
        return [
            ffcore.train(f"digits/{name}", run_dir=folder / name, **SMALL).path for name in ("ff", "backprop")
        ]


@pytest.fixture(scope="module")
def made(runs):
    return ffcore.analyse(runs[0], twin=runs[1], samples=100)


@pytest.fixture
def copied(runs, tmp_path):
    return shutil.copytree(runs[0], tmp_path / "copy")


def test_measures_are_those_of_the_functions_on_the_same_samples(made, runs):
    predictor = ffcore.load(runs[0])
    samples = some(Data.open(predictor.recipe).images.test, 100, predictor.recipe.seed)
    activities = predictor.activities(samples.x)
    of_block = dict(zip(made.similarity.rows, made.blocks, strict=True))
    assert list(of_block) == ["input", "dense1", "dense2", "dense3"]
    for name, activity in activities.items():
        block = of_block[name]
        assert block.features == 40
        assert block.effective_rank == pytest.approx(effective_rank(activity), rel=1e-4)
        assert block.population_sparsity == pytest.approx(population_sparsity(activity), rel=1e-4)
    assert made.similarity.values[1][2] == pytest.approx(
        linear_cka(activities["dense1"], activities["dense2"]), rel=1e-4
    )
    twin = ffcore.load(runs[1]).activities(samples.x)
    assert made.twin.columns == ("dense1", "dense2", "dense3", "head")
    assert made.twin.values[1][3] == pytest.approx(linear_cka(activities["dense1"], twin["head"]), rel=1e-4)


def test_the_matrix_is_symmetric_with_ones(made):
    values = np.array(made.similarity.values, dtype=float)
    assert values.diagonal().tolist() == [1.0] * 4
    assert np.allclose(values, values.T)


def test_accuracy_of_unchanged_inputs_is_that_of_the_run(runs):
    made = ffcore.analyse(runs[0], split="val")
    assert made.samples == 144
    assert made.robustness.accuracy == pytest.approx(evaluate(runs[0], "val")["accuracy"])
    assert made.robustness.unit == "range"


def test_the_same_call_gives_the_same_numbers(made, runs):
    assert ffcore.analyse(runs[0], twin=runs[1], samples=100) == made


def test_the_command_writes_and_prints(copied, runs, capsys):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert main(["eval", str(copied), "--analysis", "--samples", "100", "--twin", str(runs[1])]) == 0
    out = capsys.readouterr().out
    for words in (
        "100 samples of the test split",
        "dense2",
        "head",
        "noise",
        "FGSM",
        "cosine",
        "analysis.json",
    ):
        assert words in out
    assert Analysis.read(copied) is not None
    after = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {copied / "analysis.json"}
    assert all(after[path] == time for path, time in before.items())
    assert main(["eval", str(copied), "--analysis", "--samples", "50", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((copied / "analysis.json").read_text())
    assert (printed["samples"], printed["twin"]) == (50, None)


def test_more_samples_than_there_are_are_all(runs):
    assert ffcore.analyse(runs[1], samples=5000).samples == 360


def test_a_resumed_run_has_no_analysis_of_its_earlier_weights(copied):
    analyse_run(copied, samples=20)
    (copied / "results.json").unlink()
    ffcore.resume(copied, report=False)
    assert not (copied / "analysis.json").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--analysis", "--probe"], "--analysis: leave --probe out"),
        (["--analysis", "--exits"], "--analysis: leave --exits out"),
        (["--analysis", "--split", "train"], "--split train: should be test or val"),
        (["--analysis", "--samples", "5"], "samples: should be from 10 to 5000, not 5"),
        (["--analysis", "--samples", "5001"], "samples: should be from 10 to 5000, not 5001"),
        (["--analysis", "--tolerance", "1"], "--tolerance needs --exits"),
        (["--analysis", "--neighbours", "1"], "--neighbours needs --probe"),
        (["--twin", "."], "--twin needs --analysis"),
        (["--analysis", "--twin", "."], "twin: .: not a run directory"),
        (["--analysis", "seed=2"], "only the source of the data may change"),
    ],
)
def test_options_that_do_not_fit_are_refused(copied, options, reason, capsys):
    assert main(["eval", str(copied), *options]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not (copied / "analysis.json").exists()


def test_a_twin_on_other_data_is_refused(runs, quick, tmp_path):
    raw = load_digits()
    path = tmp_path / "other.npz"
    x, y = raw.images[:, None].astype("uint8"), raw.target.astype("int64")
    np.savez(path, x_train=x[:200], y_train=y[:200], x_test=x[200:300], y_test=y[200:300])
    other = quick("digits/backprop", **{"data.kind": "arrays", "data.path": str(path)})
    with pytest.raises(UserError, match=r"^twin .*: was trained on other data"):
        ffcore.analyse(runs[0], twin=other.path)


def test_a_run_without_a_checkpoint_or_validation_is_refused(copied, quick):
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match="checkpoint"):
        analyse_run(copied)
    run = quick(**{"data.validation": 0})
    with pytest.raises(UserError, match="no validation split"):
        ffcore.analyse(run, split="val")


def test_an_analysis_prints_a_line_for_each_block(made):
    head, *blocks, accuracy, more = str(made).splitlines()
    assert head.split() == ["units", "sparsity", "dead", "rank", "cosine", "with", "backpropagation"]
    assert [line.split()[0] for line in blocks] == [block.name for block in made.blocks]
    assert blocks[0].endswith(" –")
    assert blocks[1].endswith(f" {made.gradients.blocks[0].cosine:.2f}")
    assert accuracy.startswith(
        f"{made.samples} samples, accuracy {100 * made.robustness.accuracy:.2f} %; with noise"
    )
    assert more.startswith("more in the attributes")
    assert repr(made) == str(made)


def test_networks_are_analysed_on_given_samples():
    net = ffcore.from_recipe("digits/backprop", shape=(1, 8, 8), classes=10, **{"network.0.units": 20})
    x, y = torch.rand(30, 1, 8, 8), torch.arange(30) % 10
    made = ffcore.analyse(net, (x, y), twin=net, samples=20)
    assert (made.samples, made.split, made.data) == (20, "given", "given")
    assert made.twin.of == "twin"
    assert made.twin.values[1][0] == pytest.approx(1)
    assert [each.cosine for each in made.gradients.blocks] == pytest.approx([1] * 4, abs=1e-6)
    assert made.robustness.unit == "deviation"
    of = {curve.change: curve.accuracies for curve in made.robustness.curves}
    assert of["fgsm"] == of["transfer"]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda net, x, y: ffcore.analyse(net), "give samples and targets"),
        (lambda net, x, y: ffcore.analyse(net, (x[:5], y[:5])), "needs 10 samples, not 5"),
        (lambda net, x, y: ffcore.analyse(net, x), "should be a pair"),
        (lambda net, x, y: ffcore.analyse(net, (x, y), samples="a"), "samples: should be from 10 to 5000"),
        (lambda net, x, y: ffcore.analyse(net, (x, y), split="train"), "should be test or val"),
        (lambda net, x, y: ffcore.analyse(net, (x, y), twin="runs/x"), "twin: should be an ffcore.Network"),
        (lambda net, x, y: ffcore.analyse(3), "the path of a run directory"),
        (lambda net, x, y: ffcore.analyse("nowhere"), "not a run directory"),
        (lambda net, x, y: ffcore.analyse("nowhere", (x, y)), "are for a network"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, reason):
    net = ffcore.from_recipe("digits/backprop", shape=(1, 8, 8), classes=10, **{"network.0.units": 20})
    with pytest.raises(UserError, match=reason) as caught:
        call(net, torch.rand(30, 1, 8, 8), torch.arange(30) % 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.pop("blocks"), "blocks: Field required"),
        (lambda made: made.update(format=2), "format: Input should be 1"),
        (lambda made: made["similarity"]["values"].pop(), "values do not fit"),
        (lambda made: made["robustness"]["curves"][0]["accuracies"].pop(), "as many accuracies as levels"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(copied, made, change, reason):
    content = made.as_json()
    change(content)
    (copied / "analysis.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(reason)) as caught:
        Analysis.read(copied)
    assert "\n" not in str(caught.value)


def test_other_tasks_and_inputs_have_the_measures_that_they_can_have():
    net = ffcore.Network(
        [ffcore.LocalBlock(torch.nn.Linear(6, 12), "linear-head", objective="squared-error")],
        "local-errors",
        torch.rand(4, 6),
        task=Regression(2),
    )
    made = ffcore.analyse(net, (torch.rand(40, 6), torch.rand(40, 2)))
    assert made.blocks[1].effective_rank > 1
    assert "has no class scores" in made.gradients.reason
    assert "has no class scores" in made.robustness.reason
    assert made.robustness.accuracy is None
