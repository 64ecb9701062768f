"""A PyTorch model that a recipe names."""

import sys

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError

MODULE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, units, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, units), nn.ReLU())
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(units, units), nn.ReLU()) for _ in range(2)))
        self.fc = nn.Linear(units, classes)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)))


def make(units, classes):
    return Net(units, classes)


def number(units, classes):
    return 3


def broken(units, classes):
    raise KeyError("k")
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("elsewhere", None)


def item(**changes):
    options = {"units": 80, "classes": "classes"}
    found = {"kind": "model", "target": "elsewhere:make", "options": options, "at": ["stem", "layers.*"]}
    return {**found, "head": "fc", **changes}


def train(folder, network, **changes):
    trainer = {"threads": 1, "max_epochs": 12}
    return ffcore.train(
        "digits/ff", network=network, run_dir=folder, trainer=trainer, report=False, **changes
    )


def test_a_recipe_trains_a_model_and_its_run_is_loaded(tmp_path):
    run = train(tmp_path / "run", item(), optimizer={"lr": 0.003})
    assert [b.name for b in run.module.network.blocks] == ["stem", "layers-0", "layers-1"]
    assert run.results.test.accuracy > 0.5
    assert "fc" in run.results.test.per_block_accuracy
    loaded = ffcore.load(run.path)
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(loaded.module.scores(x), run.module.scores(x))


def test_the_same_seed_gives_the_same_model(tmp_path):
    nets = [ffcore.from_recipe("digits/ff", (1, 8, 8), 10, network=item()) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*(net.parameters() for net in nets), strict=True))


def test_sub_modules_may_have_settings_and_the_model_a_name():
    at = {"stem": {"goodness": "mean-squares"}, "layers.*": None}
    net = ffcore.from_recipe("digits/ff", (1, 8, 8), 10, network=[item(at=at, name="m")])
    assert [(b.name, type(b.goodness).__name__) for b in net.blocks] == [
        ("m-stem", "MeanSquares"),
        ("m-layers-0", "SumSquares"),
        ("m-layers-1", "SumSquares"),
    ]


def test_a_function_from_python_may_make_the_model():
    class Plain(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU()), nn.Linear(30, 10))

    network = item(target=Plain, options={}, at=["0"], head="1")
    net = ffcore.from_recipe("digits/ff", (1, 8, 8), 10, network=network)
    assert set(net.learn(torch.rand(4, 1, 8, 8), torch.arange(4))) == {"0", "1"}


def test_show_lists_its_blocks(capsys, tmp_path):
    from ffcore.cli.main import main

    (tmp_path / "mine.yaml").write_text(
        "base: digits/ff\nnetwork: {kind: model, target: 'elsewhere:make', at: [stem, 'layers.*'], head: fc,"
        " options: {units: 80, classes: classes}}\n"
    )
    assert main(["show", str(tmp_path / "mine.yaml"), "--build"]) == 0
    assert "layers-1" in capsys.readouterr().out


BAD = {
    "a target that is not there": (
        {"target": "elsewhere:mak"},
        r"network\.0\.target: 'elsewhere:mak' cannot be",
    ),
    "a target of nothing": ({"target": 3}, "should be module:function"),
    "what makes no module": ({"target": "elsewhere:number"}, "it returns a int, not a torch module"),
    "what raises": ({"target": "elsewhere:broken"}, "it fails"),
    "options that it does not take": ({"options": {"unit": 3}}, "unexpected keyword argument 'unit'"),
    "a sub-module that is not there": ({"at": ["stam"]}, "no sub-module 'stam'; did you mean 'stem'"),
    "no sub-module": ({"at": []}, r"network\.0\.at"),
    "a head that is a block": ({"head": "stem"}, r"network\.0\.head: 'stem' should be one sub-module"),
    "a name twice": ({"at": ["stem", "layers.*"], "name": "no way"}, r"network\.0\.name"),
}


@pytest.mark.parametrize(("changes", "complaint"), BAD.values(), ids=BAD)
def test_invalid_models_are_refused_with_their_path(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        ffcore.from_recipe("digits/ff", (1, 8, 8), 10, network=[item(**changes)])
