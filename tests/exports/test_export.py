"""Bundles hold what ONNX Runtime needs to predict and to learn as torch does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.exports import Training, export
from tests.exports.conftest import CLASSES, SHAPE, network, samples

onnxruntime = pytest.importorskip("onnxruntime")


def about(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text(encoding="utf-8"))


def step(folder: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run all graphs of the first phase."""
    values = {**np.load(folder / "weights.npz"), **inputs}
    for graph in about(folder)["phases"][0]["graphs"]:
        session = onnxruntime.InferenceSession(str(folder / graph["file"]))
        made = session.run(graph["outputs"], {name: values[name] for name in graph["inputs"]})
        values |= dict(zip(graph["outputs"], made, strict=True))
    return values


@pytest.fixture(scope="module")
def net() -> ffcore.Network:
    return network("forward-forward")


@pytest.fixture(scope="module")
def bundle(net: ffcore.Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(net, tmp_path_factory.mktemp("bundles") / "b", training=Training(epochs=4, batch_size=8))


def test_predicted_scores_are_those_of_torch(net: ffcore.Network, bundle: Path) -> None:
    x, _ = samples(9)
    entry = about(bundle)["predict"]
    session = onnxruntime.InferenceSession(str(bundle / entry["file"]))
    state = np.load(bundle / "weights.npz")
    feeds = {name: x.numpy() if name == "x" else state[name] for name in entry["inputs"]}
    (scores,) = session.run(["scores"], feeds)
    expected = net.scores(x).numpy()
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("per_block", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_step_of_onnx_runtime_is_that_of_torch(per_block: bool, tmp_path: Path) -> None:
    net = network("forward-forward")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.05, momentum=0.9)
    folder = export(net, tmp_path / "b", optimizers=optimizers, per_block=per_block)
    graphs = about(folder)["phases"][0]["graphs"]
    if per_block:  # each graph reads the weights of its own block only
        assert [graph["block"] for graph in graphs] == ["dense1", "dense2"]
        for graph, other in zip(graphs, ("dense2", "dense1"), strict=True):
            assert not [name for name in graph["inputs"] if other in name]
    else:
        assert len(graphs) == 1
    x, y = samples(11)
    batch = net.batch(x, y, net.seed, 0)
    wrong = batch.random().integers("wrong-label", CLASSES - 1)
    inputs = {
        "x": x.numpy(),
        "y": y.numpy(),
        "rate": np.ones((), np.float32),
        "random/wrong-label/0": wrong.numpy(),
    }
    values = step(folder, inputs)
    losses = net.learn(x, y, optimizers)
    for name, weight in net.state_dict().items():
        if f"new/{name}" in values:
            assert np.abs(values[f"new/{name}"] - weight.numpy()).max() < 1e-6, name
    assert {name: float(values[f"loss/{name}"]) for name in losses} == pytest.approx(
        {name: float(value) for name, value in losses.items()}, abs=1e-6
    )


@pytest.mark.thorough
def test_a_bundle_with_fixed_rows_has_no_dynamic_shape(tmp_path: Path) -> None:
    import onnx

    folder = export(network("local error signals"), tmp_path / "b", rows=5)
    assert about(folder)["sample"]["rows"] == 5
    for name in ("predict.onnx", "learn.onnx"):
        graph = onnx.load(folder / name).graph
        sides = [d for value in (*graph.input, *graph.output) for d in value.type.tensor_type.shape.dim]
        assert all(side.dim_value for side in sides)
        assert "Shape" not in {node.op_type for node in graph.node}


@pytest.mark.thorough
def test_sums_of_a_closed_form_are_state_and_its_solution_is_described(tmp_path: Path) -> None:
    content = about(export(network("closed form"), tmp_path / "b"))
    block, entry = next(iter(content["solutions"].items()))
    assert entry["strength"] > 0
    assert content["state"][entry["a"]] == {
        "shape": [content["state"][entry["weight"]]["shape"][1] + 1] * 2,
        "dtype": "float64",
        "part": "sums",
        "block": block,
    }
    assert f"new/{entry['a']}" in content["phases"][0]["graphs"][0]["outputs"]


def test_activities_are_those_of_torch(net: ffcore.Network, tmp_path: Path) -> None:
    folder = export(net, tmp_path / "b", "predict", activities=True)
    x, _ = samples(9)
    entry, state = about(folder)["predict"], np.load(folder / "weights.npz")
    session = onnxruntime.InferenceSession(str(folder / "predict.onnx"))
    feeds = {name: x.numpy() if name == "x" else state[name] for name in entry["inputs"]}
    made = dict(zip(entry["outputs"], session.run(entry["outputs"], feeds), strict=True))
    expected = ffcore.activities(net, x)
    assert made.keys() == {f"activity/{name}" for name in expected}
    for name, activity in expected.items():
        assert np.abs(made[f"activity/{name}"] - activity.numpy()).max() < 1e-5


@pytest.mark.thorough
def test_a_program_of_torch_predicts_and_learns(net: ffcore.Network, tmp_path: Path) -> None:
    folder = export(net, tmp_path / "b", to="torch")
    entry = about(folder)["predict"]
    state = np.load(folder / "weights.npz")
    x, _ = samples(9)
    program = torch.export.load(folder / entry["file"]).module()
    scores = program(*[x if name == "x" else torch.from_numpy(state[name]) for name in entry["inputs"]])
    assert torch.allclose(scores, net.scores(x))
    assert torch.export.load(folder / about(folder)["phases"][0]["graphs"][0]["file"])


class Doubled(torch.autograd.Function):
    """A gradient that is written in Python, as foreign code may have it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, up: torch.Tensor) -> torch.Tensor:
        return 2 * up


class Foreign(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Doubled.apply(super().forward(x.flatten(1)))


class Noisy(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        return super().forward(x + torch.randn_like(x) if self.training else x)


def of_body(body: nn.Module) -> tuple[ffcore.Network, Any]:
    block = ffcore.LocalBlock(body, "logits", objective="cross-entropy")
    net = ffcore.Network([block], algorithm="local-errors", example=samples(2)[0], classes=4)
    return net, ffcore.optimizers(net, torch.optim.SGD, lr=0.1)


@pytest.mark.thorough
def test_a_network_of_foreign_modules_with_gradients_of_their_own_is_exported(tmp_path: Path) -> None:
    net, optimizers = of_body(Foreign(64, 4))
    assert export(net, tmp_path / "b", optimizers=optimizers).is_dir()


def test_layers_with_random_numbers_of_their_own_are_refused(tmp_path: Path) -> None:
    net, optimizers = of_body(Noisy(64, 4))
    with pytest.raises(UserError, match="random numbers of its own"):
        export(net, tmp_path / "b", optimizers=optimizers)
    assert not (tmp_path / "b").exists()


def test_a_black_box_is_refused(tmp_path: Path) -> None:
    net = ffcore.from_recipe("digits/blackbox-sign", shape=SHAPE, classes=CLASSES)
    with pytest.raises(UserError, match="the black box Sign runs outside torch"):
        export(net, tmp_path / "b")


def test_non_finite_weights_are_refused(tmp_path: Path) -> None:
    net = network("local error signals")
    with torch.no_grad():
        next(net.parameters()).view(-1)[3] = float("nan")
    with pytest.raises(UserError, match=r"dense1\.body\.linear\.weight has non-finite values"):
        export(net, tmp_path / "b")


@pytest.mark.thorough
def test_a_bundle_is_replaced_only_on_request(net: ffcore.Network, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        export(net, tmp_path / "b", "predict")
    with pytest.raises(UserError, match="is not a bundle, so it is not overwritten"):
        export(net, tmp_path / "b", "predict", overwrite=True)
    folder = export(net, tmp_path / "c", "predict")
    assert about(export(net, folder, "predict", overwrite=True))["format"] == 1


def test_a_folder_that_cannot_be_written_is_one_line(net: ffcore.Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written: .*/file is not a directory"):
        export(net, tmp_path / "file" / "b", "predict")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": "train"}, "what: should be predict or learn, not 'train'"),
        ({"to": "tflite"}, "to: should be onnx or torch, not 'tflite'"),
        ({"rows": 0}, "rows: should be a positive integer or None, not 0"),
    ],
)
def test_options_are_checked(
    net: ffcore.Network, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        export(net, tmp_path / "b", **options)
