"""Optimisers and learning-rate schedules of a recipe: registered, torch's, by target, from Python."""

import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.optim import lr_scheduler

from ffcore.build.optimizers import check_optimizer, lr_factor, new_optimizer
from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.recipe.lr import LRSchedule
from ffcore.recipe.optimizers import OptimizerConfig


def any_adam(params, lr: float = 0.1, **options: bool):
    """Adam with any of torch's options."""
    return torch.optim.Adam(params, lr=lr, **options)


def optimizer(given):
    config = TypeAdapter(OptimizerConfig).validate_python(given)
    return new_optimizer(config, [nn.Parameter(torch.ones(2, 3))])


def schedule(given, rate=1.0):
    return lr_factor(TypeAdapter(LRSchedule).validate_python(given), rate)


@pytest.mark.parametrize(
    ("given", "kind", "options"),
    [
        ("adam", torch.optim.Adam, {"lr": 1e-3, "weight_decay": 0.0, "fused": True}),
        (
            {"kind": "adamw", "betas": [0.8, 0.9]},
            torch.optim.AdamW,
            {"betas": (0.8, 0.9), "weight_decay": 0.01},
        ),
        ({"kind": "sgd", "lr": 0.1, "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9, "fused": True}),
        ({"kind": "rmsprop", "centered": True}, torch.optim.RMSprop, {"lr": 1e-2, "centered": True}),
        ({"kind": "nadam", "lr": 0.1}, torch.optim.NAdam, {"lr": 0.1, "momentum_decay": 4e-3}),
        ({"kind": "torch.optim:Adamax", "lr": 0.1}, torch.optim.Adamax, {"lr": 0.1}),
        (torch.optim.ASGD, torch.optim.ASGD, {"lr": 0.01}),
    ],
)
def test_optimisers_have_their_options(given, kind, options):
    made = optimizer(given)
    assert type(made) is kind
    assert {key: made.param_groups[0][key] for key in options} == options


def test_every_registered_optimiser_steps():
    for name in manager.current().registry.names("optimizer"):
        check_optimizer(TypeAdapter(OptimizerConfig).validate_python(name), name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"kind": "sgd", "nesterov": True},
            "optimizer: the optimiser cannot be made: ValueError: Nesterov momentum",
        ),
        ("torch.nn:Identity", "it returns an Identity; it should return a torch.optim.Optimizer"),
        ({"kind": torch.optim.Adam, "rate": 1}, "unexpected keyword argument 'rate'"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        optimizer(given)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"kind": "sgd", "momentun": 0.9}, "momentun"),
        ({"kind": "torch.optim:SGD", "momentun": 0.9}, "momentun"),
        ({"kind": "torch.optim:SGD", "lr": "fast"}, "lr"),
        ({"kind": "nadam", "lr": "fast"}, "lr"),
    ],
)
def test_options_are_checked_when_the_recipe_is_read(given, place):
    with pytest.raises(ValidationError, match=place):
        optimizer(given)


def test_a_function_that_takes_more_gets_it():
    given = {"kind": f"{__name__}:any_adam", "lr": 0.5, "amsgrad": True}
    sys.modules.setdefault(__name__, sys.modules[any_adam.__module__])
    assert optimizer(given).param_groups[0]["amsgrad"]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("exponential", lr_scheduler.ExponentialLR, {"gamma": 0.9}),
        ("multi-step", lr_scheduler.MultiStepLR, {"milestones": [2, 4], "gamma": 0.5}),
        ("cosine-annealing", lr_scheduler.CosineAnnealingLR, {"T_max": 5}),
        ("linear", lr_scheduler.LinearLR, {"start_factor": 0.5, "total_iters": 3}),
        ("torch.optim.lr_scheduler:StepLR", lr_scheduler.StepLR, {"step_size": 2}),
        ("cosine-annealing", lr_scheduler.CosineAnnealingLR, {"T_max": 5, "eta_min": 0.1}),
        (
            "torch.optim.lr_scheduler:OneCycleLR",
            lr_scheduler.OneCycleLR,
            {"max_lr": 0.7, "total_steps": 7, "cycle_momentum": False},
        ),
    ],
)
def test_a_scheduler_of_torch_is_stepped_once_an_epoch(name, kind, options):
    factor = schedule({"kind": name, **options}, rate=0.3)
    made = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    scheduler = kind(made, **options)
    rates = []
    for _ in range(6):
        rates.append(made.param_groups[0]["lr"])
        made.step()
        scheduler.step()
    asked = [5.7, 0.0, 1.99, 3.0]  # in any order, as when a run is resumed
    assert [0.3 * factor(epoch, 6) for epoch in asked] == pytest.approx([rates[int(e)] for e in asked])


def test_a_function_of_time_is_a_schedule():
    assert schedule(lambda epoch, epochs: 1 - epoch / epochs)(2, 8) == 0.75
    assert schedule("cosine")(4, 8) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("torch.optim.lr_scheduler:ReduceLROnPlateau", "does not return a factor: TypeError: .*metrics"),
        (
            "torch.optim.lr_scheduler:StepLR",
            "does not return a factor: TypeError: .*step_size.*; write options beside kind: StepLR",
        ),
        (lambda epoch, epochs: float("nan"), "its factor is nan at epoch 0"),
    ],
)
def test_what_makes_no_factor_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        schedule(given)
