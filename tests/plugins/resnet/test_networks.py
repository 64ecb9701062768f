"""Named networks have the published shapes."""

import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Views
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe


def network(items, shape=(3, 32, 32), **block):
    recipe = Recipe.model_validate(
        {
            "name": "net",
            "data": {"kind": "digits", "validation": 0},
            "algorithm": {"kind": "backprop"},
            "network": items,
            "block": {"handoff": {"kind": "instance-norm"}, **block},
        }
    )
    return assemble(recipe, shape, 10).network


def convolutions(net):
    return [block for block in net.blocks if hasattr(block.body, "conv")]


def test_resnet17_has_the_published_shapes_weights_and_products():
    blocks = convolutions(network([{"kind": "resnet17"}]))
    assert [block.info.shape for block in blocks] == [
        *[(100, 32, 32)] * 5,
        *[(200, 16, 16)] * 4,
        *[(400, 8, 8)] * 4,
        *[(800, 4, 4)] * 4,
    ]
    weights = [block.body.conv.weight.numel() for block in blocks]
    assert sum(weights) == 30_602_700
    products = sum(
        w * block.info.shape[1] * block.info.shape[2] for w, block in zip(weights, blocks, strict=True)
    )
    assert products / 1e9 == pytest.approx(1.48, abs=0.005)


def test_resnet17_adds_and_concatenates_what_the_papers_say():
    net = network([{"kind": "resnet17", "widths": [10, 20], "normalise": False}], (3, 8, 8))
    made = {}
    views = Views(torch.randn(2, 3, 8, 8), ("all",), (2,))

    def keep(block, inputs, out, views):
        made[block.name] = (inputs[0], out.handoff)

    net.observe(views, keep)
    stem = made["stem"][1]
    added = stem + made["stage1-2"][1]
    torch.testing.assert_close(made["stage1-3"][0], added)
    beside = torch.cat([added, made["stage1-4"][1]], 1)
    torch.testing.assert_close(made["stage2-1"][0], beside)
    pooled = torch.nn.functional.avg_pool2d(beside, 2)
    torch.testing.assert_close(made["stage2-3"][0], pooled + made["stage2-2"][1])
    torch.testing.assert_close(made["stage2-4"][0], made["stage2-3"][1])


@pytest.mark.parametrize(
    ("kind", "shape", "channels"),
    [
        ("tinycnn4", (1, 28, 28), [(100, 28), (200, 14), (400, 7), (400, 7)]),
        (
            "vgg13",
            (3, 32, 32),
            [(70, 32)] * 2 + [(140, 16)] * 3 + [(280, 8)] * 3 + [(560, 4)] * 3 + [(560, 2)] * 2,
        ),
    ],
)
def test_plain_networks_have_the_published_shapes(kind, shape, channels):
    blocks = convolutions(network([{"kind": kind}], shape))
    assert [(block.info.shape[0], block.info.shape[1]) for block in blocks] == channels


def test_a_width_that_is_not_twice_the_last_is_refused():
    with pytest.raises(
        UserError, match=r"network.0: .*each should be twice the one before, such as \[10, 20\]"
    ):
        network([{"kind": "resnet17", "widths": [10, 30]}])


def test_an_image_too_small_for_the_poolings_is_refused():
    with pytest.raises(UserError, match=r"network.0: .*side: 2 is larger than the image of 1×1 pixels"):
        network([{"kind": "vgg13", "widths": [2, 2, 2, 2, 2]}], (1, 8, 8))


def test_two_networks_need_a_name_to_tell_their_blocks_apart():
    small = {"kind": "tinycnn4", "widths": [2, 2, 2, 2]}
    with pytest.raises(UserError, match=r"network.1.name: 'input' is taken"):
        network([small, {"kind": "resnet17", "widths": [2]}])
    net = network(
        [small, {"kind": "resnet17", "widths": [2], "name": "deep"}, {"kind": "conv", "channels": 2}]
    )
    names = [block.name for block in net.blocks]
    assert {"conv1", "deep-stem", "deep-stage1-4", "conv5"} <= set(names)


def test_images_that_strides_do_not_divide_have_no_shortcut():
    with pytest.raises(UserError, match="a residual cannot average 7×7 pixels to 4×4"):
        network([{"kind": "resnet17", "widths": [2, 4, 8, 16]}], (1, 28, 28))


def test_levels_of_super_classes_count_the_convolutions_as_the_papers_do():
    recipe = Recipe.model_validate(
        {
            "name": "net",
            "data": {"kind": "digits", "validation": 0, "groups": [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]},
            "algorithm": {"kind": "channel-class"},
            "network": [{"kind": "resnet17", "widths": [10, 20, 40, 80]}],
            "block": {
                "goodness": {"kind": "channel-partition", "hierarchy": "data"},
                "objective": {"kind": "cross-entropy"},
                "handoff": {"kind": "group-norm"},
            },
        }
    )
    blocks = convolutions(assemble(recipe, (3, 32, 32), 10).network)
    coarse = [block.goodness.column_of is not None for block in blocks]
    assert coarse == [True] * 9 + [False] * 8  # ⌈2 i/16⌉ is 1 up to i = 8


def test_papers_recipes_have_the_losses_of_the_papers():
    assert load("cifar10/channel-resnet17").block.objective.options.label_smoothing == 0.1
    for name in ("cifar10/deeperforward", "cifar10/hcl"):
        assert load(name).block.objective.options.label_smoothing == 0
