"""Slips of authors and in arguments: closed forms, circuits, bodies, negatives, data, YAML, results.

Each error is one line with the class, or the argument, and what would be right.
"""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

import ffcore
from ffcore.build.optimizers import lr_factor
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Circuit, Goodness
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.lr import LRSchedule
from ffcore.recipe.text import parse
from ffcore.report.results import Results
from ffcore.run import checkpoints
from ffcore.testing import cases

X, Y = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
SMALL = {"trainer": {"max_epochs": 1, "threads": 1}, "network": [{"kind": "dense", "units": 9}] * 2}
PLAIN = {"algorithm": {"labels": None}, "block": {"handoff": None}, "contribution": "sum"}


def net(**more):
    return ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, **{**SMALL, **more})


def refused(match, call):
    with pytest.raises(UserError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


class Squares(Goodness):
    def forward(self, activity):
        return activity.square().sum(1)

    def vjp(self, activity, up):
        return up


def test_a_vjp_has_the_shape_of_the_activity():
    refused(
        r"block dense1: vjp of Squares returned a tensor \(40,\).*\(40, 9\).*test_given.py",
        lambda: ffcore.one_step(net(block={"goodness": Squares()}), X, Y),
    )


class Elsewhere(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)).to("meta")


def test_a_body_keeps_its_device():
    refused("network.0: .*device meta.*the device of its input", lambda: net(network=[Elsewhere(64, 9)]))


class Handed(nn.Linear):
    def forward(self, x):
        activity = super().forward(x.flatten(1))
        return activity, activity.to("meta")


class Nowhere(Goodness):
    def forward(self, activity):
        return activity.square().sum(1).to("meta")


@pytest.mark.parametrize(
    ("body", "goodness", "match"),
    [
        (Elsewhere(64, 9), "sum-squares", "forward of Elsewhere"),
        (Handed(64, 9), "sum-squares", "forward of Handed"),
        (nn.Linear(64, 9), Nowhere(), "forward of Nowhere"),
    ],
)
def test_results_of_a_block_have_values(body, goodness, match):
    block = ffcore.LocalBlock(body, goodness, objective="logistic")
    refused(
        f"block .*{match} returned .* on the device meta",
        lambda: ffcore.Network([nn.Flatten(), block], "forward-forward", example=X[:2], classes=10),
    )


class Loop(Circuit):
    def __init__(self, calls, reads, name="inner"):
        super().__init__()
        self.given, self.name = (calls, reads), name

    def setup(self, context):
        self.calls, self.reads = self.given
        self.inner = context.block(self.name, nn.Sequential(nn.Flatten(), nn.Linear(64, 9)))

    def forward(self, x, views):
        return self.inner(x)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((1, range(3, 9)), r"reads is range\(3, 9\).*within range\(0, 1\)"),
        ((1, range(0)), "reads is range"),
        ((0, range(1)), "calls is 0"),
        ((1, range(1), "in.ner"), "names a block 'in.ner'; it should be letters"),
        ((1, range(1), 3), "names a block 3; it should be letters"),
    ],
)
def test_a_circuit_reads_its_calls_and_names_its_blocks(given, match):
    refused(match, lambda: net(**PLAIN, network=[{"kind": Loop(*given)}]))


def as_text(epoch, epochs):
    return "0.5"


def test_a_factor_that_is_text_is_refused():
    config = TypeAdapter(LRSchedule).validate_python({"kind": as_text})
    refused("^lr_schedule: .*'0.5' is text", lambda: lr_factor(config))


@pytest.mark.parametrize(
    ("negatives", "match"),
    [
        (X, "negatives: should be a pair"),
        ((X, Y, Y), "negatives: should be a pair"),
        ((X.numpy(), Y), "negatives: samples should be a tensor, not a ndarray"),
        ((X[:5], Y[:5]), "negatives: the samples"),
        ((X.double(), Y), "negatives: the samples are a tensor .* of float64, the batch"),
        ((X, torch.tensor(3)), "negatives: hypotheses should be"),
        ((X, Y.float()), "negatives: hypotheses should be an int64 tensor"),
        ((X, Y + 10), "negatives: hypotheses run from 10 to 19; they should be 0 to 9"),
        ((X, Y[:5]), "negatives: hypotheses"),
    ],
)
def test_negatives_of_one_step_fit(negatives, match):
    refused(match, lambda: ffcore.one_step(net(), X, Y, negatives=negatives))


def test_one_step_takes_a_network():
    refused("net: a Linear is not an ffcore.Network", lambda: ffcore.one_step(nn.Linear(64, 10), X, Y))


def test_data_are_an_instance_of_a_data_set():
    refused("^data: should be an instance", lambda: ffcore.train("digits/ff", data=InMemory, run_dir="run"))


def test_validation_samples_of_another_shape_are_named():
    val = (np.zeros((20, 1, 7, 7), np.float32), Y)
    refused("validation samples are", lambda: ffcore.fit(net(), (X, Y), val=val, run_dir="run"))


def test_per_view_is_a_boolean():
    refused("per_view: ", lambda: ffcore.LocalBlock(nn.Linear(64, 5), "sum-squares", per_view="yes"))


class Listed(Algorithm):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def views(self, batch, net):
        return self.neutral(batch.x, batch.y)

    def evidence(self, x, net):
        return self.made


@pytest.mark.parametrize(
    ("made", "match"),
    [
        ([3], "has an int"),
        (None, "has a NoneType"),
        ([torch.ones(20, 10), torch.ones(20)], "has shapes"),
    ],
)
def test_evidence_is_a_list_of_tensors(made, match):
    block = ffcore.LocalBlock(nn.Linear(64, 20), "channel-partition", objective="cross-entropy")
    own = ffcore.Network([nn.Flatten(), block], Listed(made), example=X[:2], classes=10)
    refused(f"algorithm: the result of Listed.evidence {match}", lambda: own.predict(X))


@pytest.mark.parametrize("sources", [3, ["a"]])
def test_sources_are_sources(sources):
    algorithm = Listed([])
    algorithm.sources = lambda net: sources
    block = ffcore.LocalBlock(nn.Linear(64, 20), "channel-partition", objective="cross-entropy")
    refused(
        "algorithm: sources of Listed.* should return a tuple",
        lambda: ffcore.Network([nn.Flatten(), block], algorithm, example=X[:2], classes=10),
    )


def test_examples_of_an_unknown_component_are_refused():
    refused("examples: .*'nope'", lambda: cases(plugin="ff", examples={("goodness", "nope"): [{}]}))


@pytest.mark.parametrize(
    ("text", "match"),
    [("a: 1\nb: *nothing\n", r"r.yaml:2  broken YAML: .*alias '\*nothing'"), ("b: [*x, 1]", r"alias '\*x'$")],
)
def test_an_undefined_alias_is_named(text, match):
    with pytest.raises(RecipeError, match=match):
        parse(text, "r.yaml")


def test_a_source_has_a_name():
    refused("sources", lambda: Results({"sources": [{"name": None, "kind": "block"}]}, partial=True))


def test_a_run_is_not_resumed_without_its_history(tmp_path, monkeypatch):
    (tmp_path / "last.ckpt").touch()
    content = {
        **{"state_dict": {}, "callbacks": {}, "optimizer_states": [{}], "loops": {}, "epoch": 0},
        **{"global_step": 0, "pytorch-lightning_version": ""},
    }
    monkeypatch.setattr(checkpoints, "read", lambda path: content)
    monkeypatch.setattr(checkpoints.stored, "refuse_incomplete", lambda path, content: None)
    refused("last.ckpt: the run cannot be resumed .* no History", lambda: checkpoints.newest(tmp_path))
    content["callbacks"]["History"] = {}
    assert checkpoints.newest(tmp_path)[1] is content
