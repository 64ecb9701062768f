"""What has no C form is refused in one line that names it."""

import copy
import re

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.exports.c99 import write_c
from ffcore.interfaces.c99 import literal
from ffcore_ff.goodness import SumSquares
from tests.exports.c99.conftest import digits_net

BLOCK = ffcore.LocalBlock(nn.Linear(40, 6), "sum-squares", objective="logistic")
PEERS = {"peers": {"kind": "peer-normalisation"}}
READOUT = {"readouts": {"softmax": {"kind": "softmax"}}}

PARTS = {
    "conv": (
        {"network": [{"kind": "conv", "channels": 4}, {"kind": "dense", "units": 9}]},
        "c99: block conv1: a Conv body; dense bodies only",
    ),
    "penalty": (
        {"block.penalties": PEERS},
        "c99: block dense1: penalty peers, PeerNormalisation; no penalties",
    ),
    "goodness": ({"block.goodness": "sparse-l1"}, "c99: block dense1: goodness SparseL1 has no C form"),
    "padding": (
        {"block.goodness": {"kind": "mean-squares", "padding": True}},
        "c99: block dense1: goodness MeanSquares: padding: true has no C form",
    ),
    "objective": (
        {"block.objective": {"kind": "weighted", "objective": "logistic"}},
        "c99: block dense1: objective Weighted has no C form",
    ),
    "handoff": (
        {"block.handoff": {"kind": "rms", "dim": -1}},
        "c99: block dense1: handoff RMS: dim has no C form",
    ),
    "labels": (
        {"algorithm.labels": "pattern"},
        "c99: algorithm ForwardForward: labels Pattern have no C form",
    ),
    "readouts": (READOUT, "c99: readout softmax; readouts do not learn in C"),
    "readout in the scores": (
        {**READOUT, "contribution": {"kind": "readout"}},
        "c99: readout softmax in the scores; blocks only",
    ),
    "schedule": ({"schedule": "greedy"}, "c99: schedule Greedy; all blocks learn in every step (joint)"),
    "windows": ({"schedule": {"kind": "windows", "size": 2}}, "c99: schedule Windows; all blocks learn"),
    "algorithm": ({"algorithm": "backprop"}, "c99: algorithm Backprop has no C form"),
    "black box": ({"network.1": {"kind": "blackbox"}}, ""),
}
del PARTS["black box"]


@pytest.mark.parametrize(("changes", "message"), PARTS.values(), ids=PARTS)
def test_parts_without_a_c_form(tmp_path, changes, message):
    net = digits_net(**changes)
    with pytest.raises(UserError, match=f"^{re.escape(message)}") as error:
        write_c(net, tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_what_only_learning_needs_is_written_for_prediction(tmp_path):
    for name in ("penalty", "objective", "schedule", "windows", "readouts"):
        assert write_c(digits_net(**PARTS[name][0]), tmp_path / name.replace(" ", "-"), learn=False)


OPTIMISERS = {
    "RMSprop": (
        lambda n: ffcore.optimizers(n, torch.optim.RMSprop),
        "optimiser RMSprop; SGD, Adam and AdamW only",
    ),
    "amsgrad": (
        lambda n: ffcore.optimizers(n, torch.optim.Adam, amsgrad=True),
        "optimiser Adam: amsgrad; without",
    ),
    "clip": (
        lambda n: ffcore.optimizers(n, torch.optim.Adam, clip=1.0),
        "optimiser: clipping or accumulation",
    ),
    "another network": (
        lambda n: ffcore.optimizers(digits_net(), torch.optim.Adam),
        "is that of another network",
    ),
}


@pytest.mark.parametrize(("make", "message"), OPTIMISERS.values(), ids=OPTIMISERS)
def test_optimisers_without_a_c_form(tmp_path, make, message):
    net = digits_net()
    with pytest.raises(UserError, match=f"^c99: block dense1: .*{message}"):
        write_c(net, tmp_path, optimizer=make(net))


def test_optimisers_that_differ_or_miss(tmp_path):
    net = digits_net()
    make = {"*": torch.optim.Adam, "dense2": torch.optim.SGD}
    with pytest.raises(UserError, match=r"^c99: optimiser: blocks differ in more than their learning rate"):
        write_c(net, tmp_path, optimizer=ffcore.optimizers(net, make))
    net.local.optimizers = None
    with pytest.raises(UserError, match=r"^c99: the network has no optimisers; use optimizer="):
        write_c(net, tmp_path)
    with pytest.raises(UserError, match=r"^optimizer: should be made by ffcore\.optimizers"):
        write_c(net, tmp_path, optimizer=torch.optim.Adam)


@pytest.mark.parametrize(
    "name", ["", "2nd", "a-b", "a b", "größe", "int", "math", "_x", "x" * 41, "../x", "a\n"]
)
def test_names_that_are_not_of_c(tmp_path, name):
    with pytest.raises(UserError, match=r"^name: should be a letter"):
        write_c(digits_net(), tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_existing_files_stay(tmp_path):
    net = digits_net()
    (tmp_path / "ffnet.c").write_text("mine")
    with pytest.raises(UserError, match=r"ffnet\.c' already exists; overwrite=True"):
        write_c(net, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ffnet.c"]
    write_c(net, tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffnet.c", "ffnet.h"]
    assert "mine" not in (tmp_path / "ffnet.c").read_text()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_weights(tmp_path, value):
    for place in ("weight", "bias"):
        net = digits_net()
        with torch.no_grad():
            getattr(net.blocks[1].body.linear, place).view(-1)[3] = value
        with pytest.raises(UserError, match=r"^c99: block dense2: its weights are non-finite$"):
            write_c(net, tmp_path)


def test_pruned_layers_and_frozen_blocks(tmp_path):
    net = digits_net()
    frozen = copy.deepcopy(net)
    frozen.blocks[1].freeze()
    with pytest.raises(UserError, match=r"^c99: .*(frozen|schedule)"):
        write_c(frozen, tmp_path)
    nn.utils.prune.random_unstructured(net.blocks[0].body.linear, "weight", 0.5)
    with pytest.raises(UserError, match=r"^c99: block dense1: a weight that is computed"):
        write_c(net, tmp_path, learn=False)


class Halved(SumSquares):
    """A subclass that inherits a C form of another formula."""

    def forward(self, activity):
        return super().forward(activity) / 2


def test_a_subclass_states_its_own_c_form(tmp_path):
    net = digits_net(**{"block.goodness": Halved()})
    with pytest.raises(UserError, match=r"^c99: block dense1: goodness Halved has no C form \(a method c99"):
        write_c(net, tmp_path)


def test_layers_by_position_and_other_stages(tmp_path):
    x = torch.rand(2, 5, 8)
    body = [ffcore.LocalBlock(nn.Linear(8, 6), "sum-squares", objective="logistic")]
    net = ffcore.Network(body, "forward-forward", example=x, classes=3)
    with pytest.raises(UserError, match=r"^c99: block block1: a layer of 8 inputs for samples of \(5, 8\)$"):
        write_c(net, tmp_path, learn=False)
    body = [nn.Flatten(), copy.deepcopy(BLOCK)]
    net = ffcore.Network(body, "forward-forward", example=x, classes=3)
    assert write_c(net, tmp_path, learn=False)
    body = [nn.Flatten(), nn.LayerNorm(40, elementwise_affine=False), copy.deepcopy(BLOCK)]
    net = ffcore.Network(body, "forward-forward", example=x, classes=3)
    with pytest.raises(UserError, match=r"^c99: stage 2: a LayerNorm; a list of dense blocks only$"):
        write_c(net, tmp_path / "other", learn=False)


def test_other_arguments(tmp_path):
    with pytest.raises(UserError, match=r"^net: a Linear is not an ffcore\.Network$"):
        write_c(nn.Linear(2, 2), tmp_path)
    with pytest.raises(UserError, match=r"^weights: should be float32 or int8, not 'int4'$"):
        write_c(digits_net(), tmp_path, weights="int4")


def test_numbers_of_c_read_back_as_the_same_float32():
    values = torch.randn(2000).mul(torch.logspace(-40, 30, 2000)).numpy()
    assert [float(literal(value)[:-1]) for value in values.tolist()] == pytest.approx(
        values.tolist(), rel=6e-8
    )
    with pytest.raises(ValueError, match="not a finite float32"):
        literal(1e39)
