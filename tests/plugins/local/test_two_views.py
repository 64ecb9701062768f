import csv
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, Out, Views
from ffcore_channel.contrast import supervised_contrast
from ffcore_local.contrastive import MarginContrast, NTXent, nt_xent

PARTS = {
    "algorithm": {"kind": "two-views", "augment": [{"kind": "shift", "pixels": 1}]},
    "block": {"goodness": None, "objective": None, "penalties": {"pair": "nt-xent"}, "handoff": "rms"},
    "trainer": {"max_epochs": 3, "threads": 1, "bar": False},
    "network": [{"kind": "conv", "channels": 16, "kernel": 3}, {"kind": "conv", "channels": 32, "kernel": 3}],
}


def test_the_loss_by_hand():
    z = nn.functional.normalize(torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, 2]]), dim=1)
    total = 0.0
    for i, other in enumerate([2, 3, 0, 1]):
        shares = [math.exp(float(z[i] @ z[k]) / 0.2) for k in range(4) if k != i]
        total -= math.log(math.exp(float(z[i] @ z[other]) / 0.2) / sum(shares))
    assert float(nt_xent(z, 0.2)) == pytest.approx(total / 4, rel=1e-5)


def test_both_views_are_augmented_with_other_numbers():
    net = ffcore.from_recipe("digits/ff-unsupervised", shape=(1, 8, 8), classes=10, **PARTS)
    x = torch.rand(20, 1, 8, 8)
    batch = net.batch(x, torch.arange(20) % 10, 0, 0)
    views = net.algorithm.views(batch, net.local)
    assert views.roles == ("first", "second")
    first, second = views.x.split(20)
    assert not torch.equal(first, second)
    assert not torch.equal(first, x)


def test_blocks_learn_without_labels_and_a_readout_reads_them(tmp_path):
    run = ffcore.train("digits/ff-unsupervised", run_dir=tmp_path / "run", **PARTS)
    assert run.results["test"]["accuracy"] > 0.8
    loss = [
        epoch["conv2/loss"] for epoch in csv.DictReader((run.path / "metrics.csv").read_text().splitlines())
    ]
    assert float(loss[-1]) < float(loss[0])


@pytest.mark.usefixtures("undrawn")
def test_a_run_without_targets(tmp_path):
    data = {
        "kind": "python",
        "target": "sklearn.datasets:load_digits",
        "options": {"return_X_y": True},
        "task": "none",
        "scale": "all",
    }
    parts = {**PARTS, "network": [{"kind": "dense", "units": 64}], "data": data, "readouts": {}}
    run = ffcore.train(
        "digits/ff-unsupervised", run_dir=tmp_path / "run", **parts, **{"algorithm.augment": []}
    )
    assert run.results["test"]["loss"] < 5
    with pytest.raises(UserError, match="nothing is predicted"):
        run.predictor().predict(np.zeros((2, 64)))


def test_blocks_without_targets_need_a_readout():
    with pytest.raises(UserError, match="add one under `readouts`, or set the task to none"):
        ffcore.from_recipe("digits/ff-unsupervised", shape=(1, 8, 8), classes=10, **PARTS, readouts={})


def test_other_views_are_refused():
    block = ffcore.LocalBlock(nn.Linear(4, 3), "linear-head", penalties={"pair": "nt-xent"})
    net = ffcore.Network([block], "local-errors", example=torch.rand(2, 4), classes=3)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    with pytest.raises(ValueError, match="nt-xent: needs two views of each sample, as of two-views, not all"):
        net.learn(torch.rand(4, 4), torch.arange(4) % 3, optimizers)


def test_a_row_of_zeros_has_a_small_gradient():
    """As of a fully masked row: the gradient of a plain normalisation would be 10¹²."""
    penalty = NTXent(width=None)
    penalty.setup(Context((5,), 3))
    h = torch.zeros(8, 5).requires_grad_()
    views = Views(h, ("first", "second"), (4, 4))
    penalty(Out(h, h, None), None, views).backward()
    assert h.grad.abs().max() < 1e4


def test_tokens_need_their_dimension():
    with pytest.raises(ValueError, match=r"block block1: an activity .* may be tokens or channels; set dim"):
        NTXent().setup(Context((5, 16), 3, name="block1"))
    penalty = NTXent(dim=-1)
    penalty.setup(Context((5, 16), 3))
    assert penalty.projection.in_features == 16


def test_the_loss_of_a_block_is_the_sum_of_its_penalties(tmp_path):
    more = {"block.penalties": {"pair": "nt-xent", "sharp": {"kind": "nt-xent", "temperature": 0.1}}}
    run = ffcore.train("digits/ff-unsupervised", run_dir=tmp_path / "run", report=False, **PARTS, **more)
    last = [*csv.DictReader((run.path / "metrics.csv").read_text().splitlines())][-1]
    terms = float(last["conv1/pair"]) + float(last["conv1/sharp"])
    assert float(last["conv1/loss"]) == pytest.approx(terms, rel=1e-5)


def test_a_cache_of_finished_blocks_works_without_targets(tmp_path):
    data = {"kind": "python", "target": "sklearn.datasets:load_digits", "task": "none", "scale": "inputs"}
    data["options"] = {"return_X_y": True}
    parts = {**PARTS, "network": [{"kind": "dense", "units": 20, "repeat": 2}], "data": data, "readouts": {}}
    parts["algorithm"] = {"kind": "forward-forward-unsupervised", "negatives": "corrupted"}
    parts["block"] = {"goodness": "mean-squares", "objective": "symba"}
    parts["contribution"] = "mean"
    run = ffcore.train(
        "digits/ff-unsupervised",
        run_dir=tmp_path / "run",
        report=False,
        **{
            **parts,
            "trainer": {"max_epochs": 4, "threads": 1},
            "schedule": {"kind": "greedy", "cache": True},
        },
    )
    assert np.isfinite(run.results["test"]["loss"])


def test_margin_contrast_pair_by_pair():
    z = F.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    y, temperature, margin = [0, 1, 0, 0, 1, 2], 0.3, 0.25
    total = 0.0
    for i in range(6):
        s = [min(float(z[i] @ z[k]) + margin, 1) if y[k] == y[i] else float(z[i] @ z[k]) for k in range(6)]
        below = sum(math.exp(s[k] / temperature) for k in range(6) if k != i)
        friends = [p for p in range(6) if p != i and y[p] == y[i]]
        for p in friends:
            total -= math.log(math.exp(s[p] / temperature) / below) / len(friends)
    made = supervised_contrast(z, torch.tensor(y), temperature, margin)
    assert float(made) == pytest.approx(total / 6, rel=1e-12)


def test_the_margin_falls_with_depth():
    margins = []
    for depth in range(4):
        penalty = MarginContrast()
        for _ in range(2):  # a second time, too
            penalty.setup(Context((8,), 3, name="block", depth=depth, blocks=4))
        margins.append(penalty.margin)
    assert margins == pytest.approx([0.4, 0.3, 0.2, 0.1])
