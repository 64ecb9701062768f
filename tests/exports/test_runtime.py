"""`ffcore.edge` takes the steps of a run: from the same weights, with the same samples and random numbers."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import ffcore
from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.exports import Training, bundle, export
from ffcore.interfaces import Progress
from tests.exports.conftest import network, samples

edge = pytest.importorskip("ffcore.edge")
pytest.importorskip("onnxruntime")
edge_bundle = pytest.importorskip("ffcore.edge.bundle")
edge_golden = pytest.importorskip("ffcore.edge.golden")


def test_exporter_and_runtime_which_share_no_code_agree_on_the_format() -> None:
    about = {"name": "ä", "rates": [[1.0, 0.1]], "files": {}, "checksum": "its own"}
    assert bundle.checksum(about) == edge_bundle.checksum(about)
    value = torch.linspace(-1, 1, 150).view(3, 50)
    assert bundle.sampled(value).tolist() == edge_golden.sampled(value.numpy()).tolist()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("forward-forward", marks=pytest.mark.thorough),
        "hard negatives and a readout",
        pytest.param("channel classes", marks=pytest.mark.thorough),
    ],
)
def test_two_epochs_on_a_device_are_those_of_torch(name: str, tmp_path: Path) -> None:
    net = network(name)
    net.seed = 7
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.05, momentum=0.9)
    training = Training(epochs=2, batch_size=8, rate=lambda epoch, epochs: 1 - epoch / epochs)
    folder = export(net, tmp_path / "b", optimizers=optimizers, training=training)
    x, y = samples(20)
    learner = edge.Learner(edge.load(folder))
    learner.learn(x.numpy(), y.numpy(), epochs=2)

    loader = DeviceLoader(Split(x.numpy(), y.numpy()), scale=1.0, batch_size=8, shuffle=True, seed=7)
    rates = [group["lr"] for group in optimizers.param_groups]
    for epoch in range(2):
        loader.epoch = lambda epoch=epoch: epoch
        for number, batch in enumerate(loader):
            for group, rate in zip(optimizers.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - (epoch + number / len(loader)) / 2)
            net.learn(batch.x, batch.y, optimizers, progress=Progress(epoch, net.batches, 2))
        net.end_epoch()
    net.eval()
    for key, value in net.state_dict().items():
        if torch.is_tensor(value) and value.is_floating_point():
            assert np.abs(learner.value(key) - value.numpy()).max() < 1e-4, key
    assert np.array_equal(learner.predict(x.numpy()), net.predict(x).numpy())


@pytest.mark.thorough
def test_layers_solved_in_closed_form_are_those_of_torch(tmp_path: Path) -> None:
    net = network("closed form")
    folder = export(net, tmp_path / "b", training=Training(epochs=1, batch_size=8))
    x, y = samples(30)
    learner = edge.Learner(edge.load(folder))
    batches = [(x[first : first + 8], y[first : first + 8]) for first in range(0, 30, 8)]
    learner.learn_from((x.numpy(), y.numpy()) for x, y in batches)
    learner.end_epoch()
    for batch in batches:
        net.learn(*batch)
    net.end_epoch()
    net.eval()
    assert np.allclose(learner.scores(x.numpy()), net.scores(x).numpy(), atol=1e-3)


@pytest.mark.thorough
def test_weights_that_a_device_has_learned_go_back_to_torch(tmp_path: Path) -> None:
    net = network("forward-forward")
    learner = edge.Learner(edge.load(export(net, tmp_path / "b", training=Training(epochs=1, batch_size=8))))
    x, y = samples(16)
    learner.learn(x.numpy(), y.numpy(), epochs=1)
    other = copy.deepcopy(net)
    state = other.state_dict()
    state.update(
        {name: torch.from_numpy(np.array(value)) for name, value in learner.items() if name in state}
    )
    other.load_state_dict(state)
    assert np.allclose(other.scores(x).numpy(), learner.scores(x.numpy()), rtol=1e-4)
    assert not np.allclose(net.scores(x).numpy(), learner.scores(x.numpy()), rtol=1e-2)


@pytest.mark.thorough
def test_a_graph_a_block_learns_as_one_graph_does(tmp_path: Path) -> None:
    net = network("forward-forward")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.05, momentum=0.9, dampening=0.9)
    x, y = samples(16)
    learned = []
    for per_block in (False, True):
        folder = export(net, tmp_path / str(per_block), optimizers=optimizers, per_block=per_block)
        learner = edge.Learner(edge.load(folder))
        learner.learn(x.numpy(), y.numpy(), epochs=2, batch_size=8)
        learned.append(dict(learner.items()))
    whole, parts = learned
    assert whole.keys() == parts.keys()
    assert max(np.abs(whole[name] - parts[name]).max() for name in whole) < 1e-6


@pytest.mark.thorough
def test_a_schedule_that_changes_in_every_step_has_a_graph_for_each_turn(tmp_path: Path) -> None:
    net = ffcore.from_recipe(
        "digits/ff",
        shape=(1, 8, 8),
        classes=4,
        network=[{"kind": "dense", "units": 20, "repeat": 3}],
        schedule={"kind": "overlapping"},
    )
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.05)
    folder = export(net, tmp_path / "b", optimizers=optimizers)
    learner = edge.Learner(edge.load(folder))
    assert len({graph.file for phase in learner.bundle.about.phases for graph in phase.graphs}) == 2
    for seed in range(4):
        x, y = samples(8, seed)
        losses = learner.step(x.numpy(), y.numpy())
        expected = net.learn(x, y, optimizers, progress=Progress(0, net.batches, 1))
        assert losses == pytest.approx({name: float(loss) for name, loss in expected.items()}, rel=1e-4)


@pytest.mark.thorough
def test_a_device_continues_with_the_random_numbers_of_a_network_in_training(tmp_path: Path) -> None:
    net = network("forward-forward")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.05)
    x, y = samples(8)
    for _ in range(3):
        net.learn(x, y, optimizers)
    learner = edge.Learner(edge.load(export(net, tmp_path / "b", optimizers=optimizers)))
    losses = learner.step(x.numpy(), y.numpy())
    expected = net.learn(x, y, optimizers)
    assert losses == pytest.approx({name: float(loss) for name, loss in expected.items()}, rel=1e-5)
