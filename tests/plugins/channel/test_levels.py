import math

import pytest
import torch

from ffcore.interfaces import Context
from ffcore_channel.levels import level_at, super_classes

COARSE, FINE = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]


def info(depth=0, blocks=3, superclasses=None):
    superclass_of = None if superclasses is None else torch.tensor(superclasses)
    return Context((12,), 6, superclass_of=superclass_of, rank=depth, ranks=blocks)


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 16])
def test_levels_follow_the_papers_rule(levels):
    # ⌈i (D − 1)/16⌉ with D − 1 levels below the undivided whole, and level 1 for the first layer
    right = [1, *(math.ceil(i * levels / 16) for i in range(1, 17))]
    assert [level_at(i, 17, levels) for i in range(17)] == right
    assert right[-1] == levels


def test_levels_may_go_one_further_with_every_block():
    assert [level_at(i, 6, 3, "each-block") for i in range(6)] == [1, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("pace", ["even", "each-block"])
def test_an_only_block_tells_the_classes_apart(pace):
    assert super_classes([COARSE], pace, info(0, 1)) is None


def test_depth_goes_from_coarse_to_the_classes_themselves():
    of = [super_classes([COARSE, FINE], "even", info(i, 4)) for i in range(4)]
    assert of[0].tolist() == COARSE
    assert of[1].tolist() == COARSE
    assert of[2].tolist() == FINE
    assert of[3] is None


def test_the_classes_may_be_named_as_the_last_level():
    for depth in range(3):
        one = super_classes([COARSE, list(range(6))], "even", info(depth))
        other = super_classes([COARSE], "even", info(depth))
        assert (one is None) == (other is None)
        assert one is None or one.tolist() == other.tolist()


def test_the_data_may_bring_the_level():
    assert super_classes("data", "even", info(0, 3, FINE)).tolist() == FINE
    assert super_classes("data", "even", info(2, 3, FINE)) is None
    with pytest.raises(ValueError, match=r"no super-classes; give it some as data\.groups"):
        super_classes("data", "even", info())


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([[0, 1]], "level 1 has 2 numbers for 6 classes"),
        ([COARSE, [0, 0, 2, 2, 3, 3]], "level 2 has the numbers 0, 2, 3 for 3 super-classes; .* 0 to 2"),
        ([[0] * 6], "level 1 has one super-class"),
        ([FINE, COARSE], "level 2 has 2 super-classes, the one before 3; levels go from coarse to fine"),
    ],
)
def test_levels_that_do_not_fit_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        super_classes(levels, "even", info())
