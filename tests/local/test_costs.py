import pytest
import torch
from torch import nn

import ffcore
from ffcore.local.costs import costs, large_heads

SIM = {"kind": "similarity", "kernel": 1}


def network(*blocks, shape=(3, 4, 4), classes=5):
    made = ffcore.Network(
        list(blocks), algorithm="channel-class", example=torch.zeros(2, *shape), classes=classes
    )
    return costs(made.local)


def test_body_and_head_are_counted_apart():
    """A convolution of 8·3·9 weights on 16 pixels; a head of 8 means to 5 classes; a 1×1 convolution."""
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU())
    goodness = {"kind": "linear-head", "grid": 1, "features": None}
    block = ffcore.LocalBlock(body, goodness, objective="cross-entropy", penalties={"sim": SIM}, name="a")
    cost = network(block)["a"]
    assert (cost.body.parameters, cost.head.parameters) == (8 * 3 * 9, 8 * 5 + 5 + 8 * 8)
    assert cost.body.multiplications == 8 * 3 * 9 * 16
    # and two means over 16 positions, and the products of two samples' 8 features, half of them a sample
    assert cost.head.multiplications == 8 * 5 + 8 * 8 * 16 + 2 * 8 * 16 + 2 * 8 * 2 // 2
    assert cost.body.kept == 4 * (3 * 16 + 8 * 16)  # the input of the convolution, the output of the relu
    assert cost.head.kept > 0


def test_a_goodness_without_parameters_is_no_head():
    block = ffcore.LocalBlock(nn.Linear(6, 10), "logits", objective="cross-entropy", name="a")
    cost = network(block, shape=(6,), classes=10)["a"]
    assert (cost.head.parameters, cost.head.multiplications) == (0, 0)


def test_a_body_that_does_not_run_on_zeros_has_no_costs():
    class Picky(nn.Linear):
        def forward(self, x):
            if not x.any():
                raise ValueError("zeros")
            return super().forward(x)

    block = ffcore.LocalBlock(Picky(6, 5), "logits", objective="cross-entropy", name="a")
    net = ffcore.Network([block], algorithm="channel-class", example=torch.ones(2, 6), classes=5)
    assert costs(net.local) == {"a": None}


def test_a_head_with_more_multiplications_than_its_body_is_reported():
    goodness = {
        "kind": "items-head",
        "items": [{"kind": "dense", "units": 200_000}, {"kind": "dense", "units": 5}],
    }
    large = ffcore.LocalBlock(nn.Linear(6, 5), goodness, objective="cross-entropy", name="large")
    small = ffcore.LocalBlock(nn.Linear(5, 5), "linear-head", objective="cross-entropy", name="small")
    (message,) = large_heads(network(large, small, shape=(6,)))
    assert message.startswith(
        "block large: its goodness and penalties have 2,000,000 multiplications for each sample, its body 30;"
    )


def test_pooled_heads_of_vgg8b_are_not_reported():
    net = ffcore.from_recipe("cifar10/vgg8b-pred", network=[{"kind": "vgg8b", "width": 0.25}])
    assert large_heads(costs(net.local)) == []


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("digits/ff", {}),
        ("digits/channel", {}),
        ("digits/ff-recurrent", {"network.0.units": [40, 40]}),
        ("digits/pff", {"network.0.units": [40, 40]}),
    ],
)
def test_results_have_the_costs_of_every_block(recipe, options, tmp_path):
    how = {"trainer": {"max_epochs": 1, "bar": False}, "report": False, **options}
    run = ffcore.train(recipe, run_dir=tmp_path / "run", **how)
    for block in run.results.blocks:
        assert block.parameters == 0 or block.multiplications > 0
    heads = {block.name: block.head_parameters for block in run.results.blocks if block.head_parameters}
    assert bool(heads) == (recipe == "digits/channel")


def test_a_block_that_the_model_calls_twice_has_the_multiplications_of_both_calls():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Sequential(nn.Conv2d(5, 5, 3, padding=1, bias=False), nn.ReLU())

        def forward(self, x):
            return self.layer(nn.functional.max_pool2d(self.layer(x), 2))

    net = ffcore.localize(
        *(Twice(), "layer"),
        example=torch.zeros(2, 5, 8, 8),
        classes=5,
        algorithm="channel-class",
        goodness="channel-partition",
        objective="cross-entropy",
    )
    cost = costs(net.local)["layer"]
    assert cost.body.multiplications == 5 * 5 * 9 * (8 * 8 + 4 * 4)
    assert cost.body.kept == 4 * 5 * (2 * 8 * 8)  # of the larger call: its input and its output
