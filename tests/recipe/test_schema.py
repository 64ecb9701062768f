import math

import pytest
from pydantic import BaseModel, ValidationError

from ffcore.recipe.data import DataConfig
from ffcore.recipe.network import BlockConfig, BlockItem, BoxItem, ResidualItem, merged
from ffcore.recipe.schema import Paper, Recipe
from ffcore.recipe.trainer import TrainerConfig
from ffcore_std.lr_schedules import Constant, Cosine, HoldThenLinear, Step

MODELS = [
    Recipe,
    Paper,
    DataConfig,
    BlockConfig,
    BlockItem,
    BoxItem,
    ResidualItem,
    TrainerConfig,
]


def least(**more):
    return {
        "name": "x",
        "data": "images",
        "algorithm": "forward-forward",
        "network": [{"kind": "dense", "units": 3}],
        **more,
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described(model: type[BaseModel]):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_the_smallest_recipe_has_defaults_for_all_other_keys(fake):
    recipe = Recipe(**least())
    assert (recipe.optimizer.kind, recipe.lr_schedule.kind) == ("adam", "constant")
    assert (recipe.contribution, recipe.schedule) == (None, None)
    assert (recipe.data.batch_size, recipe.trainer.max_epochs) == (100, 20)


def test_data_is_flat_in_and_out(fake):
    data = Recipe(**least(data={"kind": "images", "root": "/d", "batch_size": 5})).data
    assert (data.dataset.kind, data.dataset.options.root, data.batch_size) == ("images", "/d", 5)
    assert data.model_dump() == {
        "kind": "images",
        "root": "/d",
        "batch_size": 5,
        "validation": 0.1,
        "split_seed": 0,
        "batches": "new",
        "label_noise": 0.0,
        "standardise": False,
        "augment": [],
        "transform": None,
        "groups": None,
    }


@pytest.mark.parametrize(("value", "kept"), [(0.25, 0.25), (0, 0), (1000, 1000), ("1e-1", 0.1)])
def test_validation_is_a_count_or_a_fraction(fake, value, kept):
    data = DataConfig.model_validate({"kind": "images", "validation": value})
    assert data.validation == kept
    assert type(data.validation) is type(kept)


@pytest.mark.parametrize("value", [-1, 1.5, True, "some", "nan", None])
def test_other_values_of_validation_raise(fake, value):
    with pytest.raises(ValidationError, match="fraction of the training set"):
        DataConfig.model_validate({"kind": "images", "validation": value})


def test_network_items_are_discriminated_by_kind(fake):
    inner = {"kind": "dense", "units": 2, "repeat": 3}
    box = {"kind": "blackbox", "box": "worker"}
    recipe = Recipe(**least(network=[inner, {"kind": "residual", "items": [inner, box]}, box]))
    block, residual, last = recipe.network
    assert (block.kind, block.body.options.units, block.repeat) == ("dense", 2, 3)
    assert (residual.merge, residual.items) == ("add", [block, last])
    assert last.box.kind == "worker"


def test_a_block_has_its_own_options_and_those_of_the_recipe(fake):
    defaults = BlockConfig(goodness="sum-squares", handoff="rms")
    both = merged(defaults, BlockConfig(handoff=None, per_view=True))
    assert (both.goodness, both.handoff, both.per_view) == (defaults.goodness, None, True)
    assert merged(defaults, BlockConfig()) == defaults


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "sgd", "lr": -1},
        {"kind": "sgd", "lr": float("inf")},
        {"kind": "adam", "betas": [0.9, 1.0]},
        {"kind": "adam", "lr": True},
        {"kind": "rmsprop", "alpha": 2},
    ],
)
def test_optimisers_have_bounds(fake, value):
    with pytest.raises(ValidationError):
        Recipe(**least(optimizer=value))


@pytest.mark.parametrize("value", ["16", "16-mixed", 16])
def test_fp16_raises_with_the_reason(value):
    with pytest.raises(ValidationError, match="fp16 needs a loss scaler per block"):
        TrainerConfig(precision=value)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(), {0: 1, 5: 1, 10: 1}),
        (HoldThenLinear(), {0: 1, 5: 1, 7.5: 0.5, 10: 0, 11: 0}),
        (HoldThenLinear(hold=1), {10: 1, 11: 0}),
        (HoldThenLinear(hold=0), {0: 1, 1: 0.9}),
        (Cosine(), {0: 1, 5: 0.5, 10: 0, 12: 0}),
        (Cosine(final=0.2), {0: 1, 5: 0.6, 10: 0.2}),
        (Cosine(warmup_epochs=2), {0: 0, 1: 0.5, 2: 1, 6: 0.5, 10: 0}),
        (HoldThenLinear(per="epoch"), {0.9: 1, 7: 0.6, 7.5: 0.6, 7.99: 0.6, 10: 0}),
        (HoldThenLinear(per="middle"), {4.9: 1, 7: 0.5, 7.99: 0.5, 9.5: 0.1}),
        (Cosine(per="epoch"), {0.5: 1, 5.5: 0.5, 10: 0}),
        (Cosine(per="middle"), {4: 0.5 + 0.5 * math.cos(math.pi * 0.45)}),
        (Step(epochs=[2, 4]), {0: 1, 1.99: 1, 2: 0.1, 4: 0.01}),
        (Step(epochs=[3], by=0.5), {2: 1, 3: 0.5}),
    ],
)
def test_factors_of_the_learning_rate_over_ten_epochs(schedule, values):
    assert [schedule.factor(epoch, 10) for epoch in values] == pytest.approx(list(values.values()), abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"kind": "step", "epochs": [4, 2]}, "should ascend"),
        ({"kind": "step", "epochs": []}, "at least 1 item"),
        ({"kind": "cosine", "final": 2}, "less than or equal to 1"),
    ],
)
def test_learning_rate_schedules_have_bounds(fake, schedule, message):
    with pytest.raises(ValidationError, match=message):
        Recipe(**least(lr_schedule=schedule))
