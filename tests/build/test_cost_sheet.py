"""The cost sheet, against numbers worked out by hand."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import nn

import ffcore
from ffcore.build.describe import described
from ffcore.errors import UserError
from ffcore.recipe.load import loaded

RECIPES = Path(__file__).parents[2] / "recipes"
DIGITS = [f"digits/{path.stem}" for path in sorted((RECIPES / "digits").glob("*.yaml"))]
UNCOUNTED = {"digits/blackbox-path", "digits/ffzero-program"}
"""Recipes whose blocks call what is not to be called: a solver, another program."""


def layer(inputs, learns=True):
    """A layer of four units; without a loss of its own it learns only from a later one."""
    parts = {"goodness": "logits", "objective": "cross-entropy"} if learns else {}
    return ffcore.LocalBlock(nn.Linear(inputs, 4, bias=False), **parts)


def two_layers(*, window=False):
    """6 → 4 → 4; each layer learns by itself, or both by the loss of the last one."""
    stages = [layer(6, learns=not window), layer(4)]
    schedule = "one-window" if window else None
    return ffcore.Network(stages, "channel-class", torch.zeros(2, 6), classes=4, schedule=schedule)


@pytest.fixture(scope="module")
def ff():
    """digits/ff: 64 → 500 → 500 → 500, two views, ten hypotheses, Adam."""
    return ffcore.cost_sheet(ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10), batch_size=25)


W = [64 * 500 + 500, 500 * 500 + 500, 500 * 500 + 500]


def test_forward_forward_learns_with_two_products_of_both_views(ff):
    """Forward and weight gradient of two rows. The first layer multiplies the 64 pixels once for both views,
    and the 10 numbers of the label code for each."""
    first = 2 * (64 * 500 + 2 * 10 * 500)
    assert [block.learn for block in ff.blocks] == [first, 2 * 2 * 500 * 500, 2 * 2 * 500 * 500]
    assert ff.learn == first + 8 * 500 * 500


def test_forward_forward_predicts_with_a_row_for_each_class(ff):
    first = 64 * 500 + 10 * 10 * 500
    assert [block.predict for block in ff.blocks] == [first, 10 * 500 * 500, 10 * 500 * 500]
    assert ff.predict == first + 20 * 500 * 500


def test_parameters_and_flash(ff):
    assert [block.parameters for block in ff.blocks] == W
    assert ff.parameters == sum(W) == 533_500
    assert ff.flash == {"float32": 4 * 533_500, "int8": 533_500}


def entry(sheet, method, numbers, batch):
    (found,) = (m for m in sheet.memory if (m.method, m.numbers, m.batch_size) == (method, numbers, batch))
    return found


@pytest.mark.parametrize("batch", [1, 25])
@pytest.mark.parametrize(("numbers", "size"), [("float32", 4), ("int8", 1)])
def test_ram_block_by_block_is_that_of_the_largest_neighbours(ff, numbers, size, batch):
    """All parameters, two numbers of Adam for each, the largest gradient, and 500 + 500 numbers a view."""
    found = entry(ff, "by block", numbers, batch)
    assert found.parameters == size * sum(W)
    assert found.optimizer == 4 * 2 * sum(W)
    assert found.gradient == 4 * max(W)
    assert found.activities == size * batch * 2 * (500 + 500)
    assert found.total == ff.ram("by block", numbers, batch)
    assert found.total == found.parameters + found.optimizer + found.gradient + found.activities


def test_ram_of_streamed_parameters_is_that_of_the_largest_block(ff):
    found = entry(ff, "streamed", "float32", 25)
    assert (found.parameters, found.optimizer, found.gradient) == (4 * max(W), 8 * max(W), 4 * max(W))
    assert found.activities == entry(ff, "by block", "float32", 25).activities


def test_ram_of_backpropagation_holds_all_activities_of_one_row(ff):
    """Input (64, code of 10 and its factor), three activities, and two normalised ones between them."""
    found = entry(ff, "backprop", "float32", 25)
    assert (found.parameters, found.optimizer, found.gradient) == (4 * sum(W), 8 * sum(W), 4 * sum(W))
    assert found.activities == 25 * 4 * (64 + 10 + 1 + 3 * 500 + 2 * 500)


def test_layers_that_learn_alone_have_two_products():
    sheet = ffcore.cost_sheet(two_layers(), 1, torch.optim.SGD)
    assert [(b.predict, b.learn) for b in sheet.blocks] == [(24, 2 * 24), (16, 2 * 16)]
    assert entry(sheet, "by block", "float32", 1).gradient == 4 * 24
    assert entry(sheet, "by block", "float32", 1).optimizer == 0


def test_layers_of_one_window_have_a_third_product_between_them_and_share_their_memory():
    sheet = ffcore.cost_sheet(two_layers(window=True), 1, torch.optim.SGD)
    assert [(b.predict, b.learn) for b in sheet.blocks] == [(24, 2 * 24), (16, 3 * 16)]
    assert entry(sheet, "by block", "float32", 1).gradient == 4 * (24 + 16)
    assert len({block.held for block in sheet.blocks}) == 1
    assert sheet.ram("by block") == sheet.ram("backprop")


def test_a_network_without_optimisers_has_a_note():
    sheet = ffcore.cost_sheet(two_layers(), 1)
    assert sheet.notes == ("the network has no optimisers; their state is not counted",)
    assert entry(sheet, "by block", "float32", 1).optimizer == 0


def test_gradients_of_accumulated_batches_are_all_held():
    net = two_layers()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1, accumulate=2)
    sheet = ffcore.cost_sheet(net, 1, optimizers)
    assert entry(sheet, "by block", "float32", 1).gradient == 4 * (24 + 16)


def test_nothing_changes():
    net = ffcore.from_recipe("digits/channel", shape=(1, 8, 8), classes=10)
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    net.learn(x, y)
    twin = copy.deepcopy(net)
    before = torch.get_rng_state()
    ffcore.cost_sheet(net, 8)
    assert torch.equal(torch.get_rng_state(), before)
    for each in (net, twin):
        each.learn(x, y)
    for name, value in net.state_dict().items():
        other = twin.state_dict()[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other


def test_black_boxes_are_not_called():
    calls = []

    def box(x):
        calls.append(len(x))
        return x * 2

    net = ffcore.Network([layer(6), box, layer(4)], "channel-class", torch.zeros(2, 6), classes=4)
    calls.clear()
    sheet = ffcore.cost_sheet(net, 4, torch.optim.SGD)
    assert calls == []
    assert [block.learn for block in sheet.blocks] == [2 * 24, 2 * 16]
    (note,) = sheet.notes
    assert note.endswith("is not called; its own costs are not counted")


def test_parts_of_a_model_outside_the_blocks_have_a_row_of_their_own():
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False))
    with pytest.warns(UserWarning, match="not"):
        net = ffcore.localize(
            model, "1", example=torch.rand(2, 6), classes=4, algorithm="channel-class", goodness="logits",
            objective="cross-entropy",
        )  # fmt: skip
    sheet = ffcore.cost_sheet(net, 1, torch.optim.SGD)
    block, outside = sheet.blocks
    assert (block.parameters, block.predict, block.learn) == (20, 20, 40)
    assert (outside.name, outside.parameters, outside.predict, outside.learn) == (
        "outside blocks",
        30,
        30,
        30,
    )
    assert sheet.flash["int8"] == 50


def test_a_step_that_fails_is_a_note():
    class Picky(nn.Linear):
        def forward(self, x):
            if self.training and not x.isnan().any():
                raise ValueError("only NaN")
            return super().forward(x)

    net = ffcore.Network(
        [ffcore.LocalBlock(Picky(6, 4), "logits", objective="cross-entropy")],
        "channel-class",
        torch.zeros(2, 6),
        classes=4,
    )
    sheet = ffcore.cost_sheet(net, 2, torch.optim.SGD)
    assert (sheet.learn, sheet.predict, sheet.memory) == (None, None, ())
    assert sheet.parameters == 28
    assert "only NaN" in sheet.notes[0]
    with pytest.raises(KeyError, match="no RAM for by block"):
        sheet.ram()


@pytest.mark.parametrize(
    ("net", "batch", "message"),
    [(nn.Linear(2, 2), 1, "net: should be"), ("ff", 0, "batch_size: should be an integer from 1")],
)
def test_wrong_arguments_are_refused(net, batch, message):
    with pytest.raises(UserError, match=message):
        ffcore.cost_sheet(two_layers() if net == "ff" else net, batch)


@pytest.mark.parametrize("name", DIGITS)
def test_every_recipe_of_digits_has_a_sheet(name):
    sheet = described(loaded(name, {}))[1]
    assert json.loads(json.dumps(sheet)) == sheet
    assert sheet["parameters"] == sum(block["parameters"] for block in sheet["blocks"]) > 0
    if name in UNCOUNTED:
        assert (sheet["learn"], sheet["memory"]) == (None, [])
        (note,) = sheet["notes"]
        assert "not called here" in note
        return
    assert sheet["learn"] == sum(block["learn"] for block in sheet["blocks"])
    assert sheet["predict"] is None or sheet["predict"] == sum(block["predict"] for block in sheet["blocks"])
    assert sheet["learn"] > 0
    ram = {(m["method"], m["batch_size"]): m["total"] for m in sheet["memory"] if m["numbers"] == "float32"}
    for batch in (1, sheet["batch_size"]):
        assert ram["streamed", batch] <= ram["by block", batch]


def test_results_of_a_run_have_the_sheet(tmp_path):
    how = {"trainer": {"max_epochs": 1, "bar": False}, "report": False}
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", **how)
    again = type(run.results).read(run.path)
    assert again.cost_sheet["learn"] == 2_084_000
    assert again.cost_sheet["batch_size"] == 25
    assert again.cost_sheet["memory"][0]["total"] > 0


def test_weight_gradients_of_grouped_convolutions_are_counted_once() -> None:
    # 8×8 positions, 8 output channels, 4 input channels / 2 groups, 3×3 windows
    block = ffcore.LocalBlock(
        nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=2), nn.Flatten()),
        goodness={"kind": "linear-head"},
        objective="cross-entropy",
    )
    net = ffcore.Network([block], algorithm="local-errors", example=torch.rand(2, 4, 8, 8), classes=3)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    convolution, head = 64 * 8 * 2 * 9, 512 * 3
    sheet = ffcore.cost_sheet(net, 2, optimizers)
    assert sheet.predict == convolution + head
    assert sheet.learn == 2 * convolution + 3 * head
