"""predsim on whole networks."""

import pytest
import torch
from torch.nn import functional as F

import ffcore
from ffcore.errors import RunError

BLOCK = {
    "goodness": "linear-head",
    "objective": {"kind": "cross-entropy", "weight": 0.01},
    "penalties": {"sim": {"kind": "similarity", "weight": 0.99, "kernel": 1}},
    "handoff": {"kind": "channel-dropout", "p": 0.0},
}


def trained(**more):
    network = more.pop("network", [{"kind": "dense-bn", "units": 24, "repeat": 2}])
    return ffcore.train(
        "digits/ff",
        network=network,
        algorithm=more.pop("algorithm", "local-errors"),
        block=more.pop("block", BLOCK),
        contribution="last",
        lr_schedule="steps",
        optimizer={"kind": "adam", "lr": 5e-3},
        trainer={"max_epochs": 3, "threads": 1, "bar": False, **more.pop("trainer", {})},
        report=False,
        **more,
    )


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_predsim_learns_and_the_output_layer_predicts():
    run = trained()
    assert run.results.test.accuracy > 0.85
    names = [source["name"] for source in run.results["sources"]]
    assert names == ["dense-bn1", "dense-bn2", "output"]


def test_convolutions_and_tokens_of_images_learn():
    conv = {"kind": "conv-bn", "channels": 8, "pool": 2}
    run = trained(network=[conv, {"kind": "conv-bn", "channels": 16}])
    assert run.results.test.accuracy > 0.8


def test_one_block_has_the_gradients_of_the_formula():
    """Against the loss written down with torch's own functions."""
    torch.manual_seed(0)
    block = ffcore.LocalBlock(
        torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh()),
        goodness={"kind": "linear-head", "init": "uniform"},
        objective={"kind": "cross-entropy", "weight": 0.01},
        penalties={"sim": {"kind": "similarity", "weight": 0.99}},
    )
    net = ffcore.Network(
        [block], algorithm={"kind": "local-errors", "output": False}, example=torch.zeros(2, 6), classes=3
    )
    x, y = torch.randn(7, 6), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    h = torch.tanh(F.linear(x, block.body[0].weight, block.body[0].bias))
    head = block.goodness.linear
    loss = 0.01 * F.cross_entropy(F.linear(h, head.weight, head.bias), y)
    z = F.linear(h, block.loss.penalties["sim"].map.weight)
    z = F.normalize(z - z.mean(1, keepdim=True), dim=1)
    one_hot = F.one_hot(y, 3).float()
    t = F.normalize(one_hot - one_hot.mean(1, keepdim=True), dim=1)
    loss = loss + 0.99 * F.mse_loss(z @ z.T, t @ t.T)
    right = torch.autograd.grad(loss, list(block.parameters()))
    before = [p.detach().clone() for p in block.parameters()]
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    for p, old, gradient in zip(block.parameters(), before, right, strict=True):
        torch.testing.assert_close(old - p, gradient, rtol=1e-4, atol=1e-6)


def test_a_last_batch_of_one_sample_is_learned():
    run = trained(**{"data.batch_size": 68})
    assert run.results["data"]["train"] % 68 == 1
    assert run.results.epochs == 3


@pytest.mark.parametrize(("body", "message"), [("dense-bn", "has no statistics"), ("dense", "has no pairs")])
def test_batches_of_one_sample_are_refused(body, message):
    with pytest.raises(RunError, match=f"a batch of one sample {message}"):
        trained(network=[{"kind": body, "units": 24}], **{"data.batch_size": 1})
