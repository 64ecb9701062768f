"""Wrong arguments from Python: a UserError that names the argument."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError

GIVEN = {"example": torch.zeros(2, 20), "classes": 3, "algorithm": "forward-forward"}
PARTS = {"goodness": "sum-squares", "objective": "logistic"}


def model():
    return nn.Sequential(nn.Sequential(nn.Linear(20, 8), nn.ReLU()))


def localize(what=None, at="0", **more):
    return ffcore.localize(what or model(), at, **{**GIVEN, **PARTS, **more})


def learn(**more):
    net = localize()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    return net.learn(torch.zeros(3, 20), torch.arange(3), optimizers, **more)


CASES = {
    "model": lambda: localize(lambda x: x),
    "at": lambda: localize(at=3),
    "head": lambda: localize(head=3),
    "readouts": lambda: localize(readouts=["softmax"]),
    "penalties": lambda: localize(penalties=["peer-normalisation"]),
    "superclass_of": lambda: localize(superclass_of=[0, 0, 1]),
    "seed": lambda: localize(seed="1"),
    "classes": lambda: localize(classes="3"),
    "body": lambda: ffcore.Network(3, **GIVEN),
    "clip": lambda: ffcore.optimizers(localize(), torch.optim.SGD, clip="1"),
    "accumulate": lambda: ffcore.optimizers(localize(), torch.optim.SGD, accumulate=0),
    "augment": lambda: ffcore.fit(localize(), (torch.zeros(9, 20), torch.arange(9) % 3), augment=3),
    "validation": lambda: ffcore.fit(localize(), (torch.zeros(9, 20), torch.arange(9) % 3), validation="a"),
    "heads": lambda: ffcore.Network([nn.Linear(20, 3)], **GIVEN, heads="block1"),
    "name": lambda: ffcore.LocalBlock(nn.Linear(2, 2), name=3),
    "loss": lambda: ffcore.LocalBlock(nn.Linear(2, 2), loss=lambda *of: 1),
    "progress": lambda: learn(progress=3),
    "recipe": lambda: ffcore.train(3),
    "run_dir": lambda: ffcore.train("digits/ff", run_dir=3),
    "data": lambda: ffcore.evaluate(localize(), 3),
    "what": lambda: ffcore.evaluate(None),
    "shape": lambda: ffcore.from_recipe("digits/ff", shape=3, classes=2),
    "shape, classes": lambda: ffcore.from_recipe("digits/ff", shape=(0,), classes=2),
}


@pytest.mark.parametrize("argument", CASES)
def test_a_wrong_argument_is_named(argument):
    with pytest.raises(UserError, match=rf"(^|: ){argument}: should be "):
        CASES[argument]()


def test_a_model_without_local_blocks_is_not_delocalized():
    with pytest.raises(UserError, match="delocalize: the model has no local blocks"):
        ffcore.delocalize(model())
