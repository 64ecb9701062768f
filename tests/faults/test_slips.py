"""Slips of authors: one line names the class, the method or attribute, and what would be right."""

import copy
import re
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn

import ffcore
from ffcore import parts
from ffcore.cli.main import main
from ffcore.data.images import ImageSet, Split
from ffcore.engine.batches import as_batch
from ffcore.engine.metrics import Measures
from ffcore.errors import RunError, UserError
from ffcore.interfaces import ALONE, BlackBox, Circuit, Goodness, LocalLoss, Objective, Readout, Schedule
from ffcore.run.callback_checks import refuse_types
from ffcore.run.checkpoints import TRIAL, Whole
from ffcore.run.stored import refuse_incomplete

SMALL = {"trainer": {"max_epochs": 1, "threads": 1}, "network": [{"kind": "dense", "units": 9}] * 2}
CLASSES = {"algorithm": "channel-class", "contribution": "sum"}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(match, **more):
    with pytest.raises((UserError, RunError), match=match) as caught:
        ffcore.train("digits/ff", report=False, run_dir="run", **{**SMALL, **more})
    assert "\n" not in str(caught.value)


class Columns(Goodness):
    form = "class"

    def __init__(self, first=0, rows=None):
        super().__init__()
        self.first, self.rows = first, rows

    def setup(self, context):
        self.column_of = torch.arange(context.classes) + self.first

    def forward(self, activity):
        return activity[:, :10]

    def evidence(self, goodness):
        return goodness[: self.rows]


@pytest.mark.parametrize(
    ("goodness", "match"),
    [
        (Columns(first=5), "its goodness Columns .*10 classes need 15"),
        (Columns(rows=2), "evidence of Columns"),
    ],
)
def test_columns_and_evidence_name_the_goodness(goodness, match):
    block = {"goodness": goodness, "objective": "cross-entropy"}
    network = [{"kind": "dense", "units": 20}]
    refused(match, network=network, block=block, **CLASSES)


class Loss(Objective):
    accepts = "energy"

    def forward(self, goodness, views):
        with torch.no_grad():
            return goodness.mean()


class Pair(Loss):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def with_derivative(self, goodness, views):
        return self.made(goodness)


def test_an_objective_without_a_graph_is_named():
    refused("the loss that Loss returned has no graph", block={"objective": Loss()})


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (lambda g: (g.mean(), torch.ones(3)), r"a tensor \(3,\)"),
        (lambda g: g.mean(), r"a tensor \(\)"),
        (lambda g: (g.mean(), 1.0), "a float"),
    ],
)
def test_a_closed_form_has_the_shape_of_the_goodness(made, given):
    refused(f"with_derivative of Pair returned {given}.*test_slips.py", block={"objective": Pair(made)})


class Bound(Objective):
    accepts = "energy"

    def __init__(self, bound):
        super().__init__()
        self.bound = bound

    def forward(self, goodness, views):
        return goodness.mean()

    def boundary(self):
        return self.bound[0]


@pytest.mark.parametrize("bound", [(), ("high",), (float("nan"),), ([],)])
def test_a_boundary_that_is_not_a_number_is_left_out_with_a_warning(bound):
    with pytest.warns(UserWarning, match="boundary of Bound is left out"):
        ffcore.train("digits/ff", report=False, run_dir="run", **SMALL, block={"objective": Bound(bound)})


class Vector(Readout):
    def setup(self, context):
        self.linear = nn.Linear(9, context.classes)
        return [context.features[-1].name]

    def forward(self, x):
        return self.linear(x)

    def loss(self, logits, views):
        return logits.sum(1)


def test_a_readout_whose_loss_is_not_a_scalar_is_named():
    refused("loss of Vector returned", readouts={"r": Vector()})


class Silent(Circuit):
    calls, reads = 1, range(1)

    def setup(self, context):
        self.linear = nn.Linear(64, 9)

    def forward(self, x, views):
        return self.linear(x.flatten(1))


class Uncounted(Silent):
    calls = None


@pytest.mark.parametrize(
    ("circuit", "match"),
    [(Silent(), "does not call any local block.*network.0"), (Uncounted(), "Uncounted.calls is None")],
)
def test_a_circuit_without_blocks_or_calls_is_named(circuit, match):
    more = {"algorithm": {"labels": None}, "block": {"handoff": None}, "contribution": "sum"}
    refused(match, network=[{"kind": circuit}], **more)


class Backwards(Schedule):
    def windows(self, progress, blocks):
        return [range(1, 2), range(0, 1)]


def test_windows_ascend():
    refused("^schedule: windows returned .* should ascend", schedule=Backwards())


class Box(BlackBox):
    def forward(self, x):
        return x


@pytest.mark.parametrize(("name", "value"), [("limit", "8"), ("limit", 0), ("movable", "no")])
def test_attributes_of_a_box_have_their_types(name, value):
    box = Box()
    setattr(box, name, value)
    network = [*SMALL["network"], {"kind": "blackbox", "box": box}, SMALL["network"][0]]
    refused(f"{name} is {value!r}; it should be", network=network)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("head = {'kind': 'dens', 'units': 'classes'}", "the head of Mine .*'dens' is not a body"),
        ("head = 3", "the head of Mine .*3 cannot be read"),
        ("block = {'goodnes': None}", "the block of Mine .*goodnes"),
        ("block = 3", "the block of Mine .*3 cannot be read"),
        ("schedule = 'jiont'", "the schedule of Mine .*'joint'"),
        ("schedule = 3", "the schedule of Mine .*3 cannot be read"),
        ("accepts = 'class'", "accepts of Mine .*should be a frozenset"),
        ("whole_network = True", "whole_network of Mine .*should be text"),
    ],
)
def test_class_attributes_of_an_algorithm_name_it(line, match, capsys):
    Path("p.py").write_text(
        "from ffcore.plugin import hookimpl\n"
        "from ffcore_channel.algorithm import ChannelClass\n"
        f"class Mine(ChannelClass):\n    {line}\n"
        "@hookimpl\ndef ffcore_register(registry):\n    registry.algorithm('mine', Mine)\n"
    )
    words = ["--plugin", "p.py", "run", "digits/channel", "algorithm=mine", "--run-dir", "run"]
    assert main(words) == 2
    assert re.search(f"^error: .*{match}", capsys.readouterr().err)


def test_a_block_has_a_loss_or_an_objective():
    class Own(LocalLoss):
        def forward(self, out, block, views):
            return {}

    with pytest.raises(UserError, match=r"^loss: replaces the objective .*remove loss or objective"):
        ffcore.LocalBlock(nn.Linear(4, 2), "sum-squares", Own(), objective="logistic")


@pytest.mark.parametrize("body", [nn.ModuleList([nn.Linear(4, 2)]), nn.ModuleDict(), nn.Module()])
def test_a_body_defines_forward(body):
    with pytest.raises(UserError, match=f"^body: {type(body).__name__} defines no forward"):
        ffcore.LocalBlock(body, "sum-squares", objective="logistic")


def test_a_module_with_a_forward_of_its_own_is_callable():
    module = nn.Module()
    module.forward = lambda x: x
    parts.refuse_uncallable(module, "body")


# -- data -----------------------------------------------------------------------------------------------


def images(x=0.5, **more):
    split = Split(np.full((4, 3), x, np.float32), np.arange(4))
    given = {"classes": tuple("abcd"), "scale": 1.0, "provenance": {}, **more}
    return ImageSet(name="mine", train=split, test=split, **given)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"x": np.nan}, "^mine, train: .*not finite"),
        ({"x": np.inf}, "^mine, train: .*not finite"),
        ({"superclasses": (0.5,) * 4}, "^mine: superclasses"),
        ({"provenance": ["x"]}, "^mine, provenance"),
        ({"provenance": {"x": 3}}, "^mine, provenance"),
    ],
)
def test_a_data_set_is_checked_when_it_is_made(more, match):
    images()
    with pytest.raises(UserError, match=match):
        images(**more)


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_out_of_range_are_named(label):
    block = ffcore.LocalBlock(nn.Linear(3, 4), "linear-head", objective="cross-entropy")
    net = ffcore.Network([block], "local-errors", example=torch.rand(2, 3), classes=10)
    y = torch.tensor([0, label])
    with pytest.raises(UserError, match=r"^y: classes run from .* should be 0 to 9"):
        as_batch((torch.rand(2, 3), y), ALONE, net)


def test_metrics_of_an_algorithm_are_a_mapping():
    with pytest.raises(UserError, match=r"^algorithm: measure returned a list"):
        Measures().update([torch.zeros(3)], 3)


# -- callbacks and checkpoints --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"patience": "three"}, "patience: 'three' should be int"),
        ({"min_delta": True}, "min_delta: True should be float or int"),
        ({"mode": 3}, "mode: 3 should be str"),
        ({"stopping_threshold": "x"}, ".*should be float or null or int"),
    ],
)
def test_options_of_a_callback_have_the_types_of_its_constructor(options, match):
    with pytest.raises(UserError, match=f"^here.{match}"):
        refuse_types("here", EarlyStopping, options)


def test_options_with_the_right_types_are_accepted():
    refuse_types("here", EarlyStopping, {"patience": 2, "min_delta": 1, "stopping_threshold": None})


def test_options_that_a_callback_passes_on_are_checked():
    item = {"kind": "EMAWeightAveraging", "options": {"decays": 0.5}}
    refused("EMAWeightAveraging has no option 'decays'", **{"trainer.callbacks": [item]})
    assert not Path("run").exists()


class Replaces(lightning.Callback):
    def on_save_checkpoint(self, trainer, module, checkpoint):
        pass


def test_a_callback_that_replaces_a_state_is_named():
    with pytest.raises(RunError, match=r"^callback Replaces, on_save_checkpoint: state_dict .*'none'"):
        Whole([Replaces()]).save_checkpoint({"state_dict": "none"}, TRIAL)


def test_a_checkpoint_without_the_state_of_its_optimisers_is_refused():
    content = {
        **{"state_dict": {}, "callbacks": {}, "optimizer_states": [], "loops": {}, "epoch": 0},
        **{"global_step": 0, "pytorch-lightning_version": ""},
    }
    with pytest.raises(UserError, match="optimizer_states has 0 entries"):
        refuse_incomplete(Path("last.ckpt"), content)


def test_a_checkpoint_whose_loops_would_begin_elsewhere_is_refused():
    ffcore.train("digits/ff", report=False, run_dir="run", **SMALL)
    content = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    path = Path("last.ckpt")
    refuse_incomplete(path, content)
    for keys, value, match in (
        (("loops",), {}, r"loops.fit_loop: Field required"),
        (("loops", "fit_loop"), {}, r"loops.fit_loop.epoch_progress: Field required"),
        (("loops", "fit_loop", "epoch_progress", "current"), {}, "current.ready: Field required"),
        (("loops", "fit_loop", "epoch_progress", "current", "completed"), -1, "current.completed"),
        (
            ("loops", "fit_loop", "epoch_progress", "current", "ready"),
            5,
            "processed and completed do not fit",
        ),
        (("epoch",), 2, "epoch is 2, but loops.fit_loop has 1"),
        (("global_step",), 0, "global_step is 0, but loops.fit_loop has"),
    ):
        damaged = copy.deepcopy(content)
        within = damaged
        for key in keys[:-1]:
            within = within[key]
        within[keys[-1]] = value
        with pytest.raises(UserError, match=f"^last.ckpt: the run cannot be resumed .*{match}"):
            refuse_incomplete(path, damaged)


# -- the command line -----------------------------------------------------------------------------------


def test_an_exit_in_a_hook_is_an_error(capsys):
    Path("p.py").write_text(
        "import sys\nfrom ffcore.data.digits import Digits\nfrom ffcore.plugin import hookimpl\n"
        "class Mine(Digits):\n    '''A data set.'''\n    def peek(self):\n        sys.exit(0)\n"
        "@hookimpl\ndef ffcore_register(registry):\n    registry.dataset('mine', Mine)\n"
    )
    data = "data={kind: mine, batch_size: 100}"
    assert main(["--plugin", "p.py", "show", "digits/ff", data, "--build"]) == 2
    assert "its peek raised SystemExit: 0" in capsys.readouterr().err


def test_an_import_time_exception_of_a_function_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("bxq.py").write_text("raise RuntimeError('no hardware')\n")
    box = "{kind: blackbox, box: {kind: array-function, target: bxq:f}}"
    assert main(["validate", "digits/ff", f"network=[{{kind: dense, units: 9}}, {box}]"]) == 2
    assert "no hardware" in capsys.readouterr().err


def test_a_paper_is_checked_although_a_changed_experiment_drops_it(capsys):
    words = ["validate", "digits/ff", "network.0.units=20", "paper={test_error: 120, source: x}"]
    assert main(words) == 2
    assert "paper.test_error" in capsys.readouterr().err


def test_a_shift_is_not_larger_than_the_image():
    refused(r"shift moves images of 8x8", **{"data.augment": [{"kind": "shift", "pixels": 1000000}]})


def test_an_os_error_that_a_callback_raises_is_not_a_full_disk():
    class Noisy(lightning.Callback):
        def setup(self, trainer, pl_module, stage):
            raise OSError("my own check")

    with pytest.raises(OSError, match="my own check"):
        ffcore.train("digits/ff", report=False, run_dir="run", callbacks=[Noisy()], **SMALL)
