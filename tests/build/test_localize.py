"""Local blocks inside models that know nothing of ffcore."""

import copy
import functools

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Views
from ffcore_ff.goodness import SumSquares

CHANNELS = {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "instance-norm"}


class ResidualCNN(nn.Module):
    """Three convolutions, one of them with a shortcut around it, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 40, 5, padding=2), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(40, 40, 5, padding=2), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(40, 40, 5, padding=2), nn.ReLU())
        self.head = nn.Linear(40, 10)

    def forward(self, x):
        x = self.stem(x)
        x = F.max_pool2d(x + self.middle(x), 2)
        return self.head(self.last(x).mean((2, 3)))


def digits():
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return x, torch.tensor(data.target)


def single(x, y=None):
    return Views(x, ("all",), (len(x),), y=y)


@pytest.fixture
def seeded():
    torch.manual_seed(0)


def localized(model=None, at=("stem", "middle", "last"), **changes):
    options = {"shape": (1, 8, 8), "classes": 10, "block": CHANNELS, **changes}
    return ffcore.localize(model if model is not None else ResidualCNN(), at, **options)


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:localize")
def test_a_residual_cnn_learns_digits_without_a_head(seeded):
    net = localized(optimizer={"kind": "adam", "lr": 1e-2})
    x, y = digits()
    for epoch in range(3):
        order = torch.randperm(1500, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(50):
            net.learn(single(x[rows], y[rows]))
    evidence = torch.stack(net.goodness(single(x[1500:]))).sum(0)
    assert (evidence.argmax(1) == y[1500:]).float().mean() > 0.7


@pytest.mark.filterwarnings("ignore:localize")
def test_objects_stand_in_for_kinds(seeded):
    goodness = SumSquares()
    block = {"goodness": goodness, "objective": "logistic"}
    net = localized(block=block, optimizer=functools.partial(torch.optim.SGD, lr=0.1))
    assert all(type(one.goodness) is SumSquares and one.goodness is not goodness for one in net.blocks)
    assert {type(one.stepper.optimizer) for one in net.blocks} == {torch.optim.SGD}


def test_the_parameters_that_stay_outside_are_named():
    with pytest.warns(UserWarning, match=r"will not learn: head\.weight, head\.bias$"):
        localized()


@pytest.mark.filterwarnings("ignore:localize")
def test_the_keys_and_the_values_of_the_models_state_stay(seeded):
    model = ResidualCNN()
    keys, x = list(model.state_dict()), digits()[0][:4]
    before = model(x)
    localized(model, block={**CHANNELS, "handoff": None})
    assert list(model.state_dict()) == keys
    torch.testing.assert_close(model(x), before)


@pytest.mark.filterwarnings("ignore:localize")
def test_no_gradient_crosses_from_one_sub_module_to_another(seeded):
    model = ResidualCNN()
    net = localized(model)
    net.blocks[0].freeze()
    net.plan([range(1), range(1, 2)])
    before = parameters(model)
    net.learn(single(*(t[:20] for t in digits())))
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"middle", "last"}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore:localize")
def test_a_copy_of_the_model_has_blocks_of_its_own(seeded):
    net = localized()
    twin = copy.deepcopy(net)
    before = parameters(net)
    twin.learn(single(*(t[:20] for t in digits())))
    torch.testing.assert_close(parameters(net), before, rtol=0, atol=0)
    assert not torch.equal(twin.body.last[0].weight, before["body.last.0.weight"])


@pytest.mark.filterwarnings("ignore:localize")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_the_layers_of_a_transformer_learn_from_tokens(seeded):
    class Reader(nn.Module):
        """The rows of an image are its tokens."""

        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(
                *(8, 2, 32, 0.0),
                batch_first=True,
                norm_first=True,  # else every activity has the same length
            )
            self.encoder = nn.TransformerEncoder(layer, 2)

        def forward(self, x):
            mask, padding = torch.zeros(8, 8, dtype=torch.bool), torch.zeros(len(x), 8, dtype=torch.bool)
            return self.encoder(x.squeeze(1), mask=mask, src_key_padding_mask=padding)

    block = {"goodness": "sum-squares", "objective": {"kind": "symba"}}
    net = localized(Reader(), at=["encoder.layers.*"], block=block, optimizer={"kind": "adam", "lr": 1e-2})
    assert [b.name for b in net.blocks] == ["encoder-layers-0", "encoder-layers-1"]
    x = digits()[0][:64]
    views = Views(torch.cat([x, x.flip(3)]), ("positive", "negative"), (64, 64))
    first = net.losses(views)
    for _ in range(30):
        net.learn(views)
    last = net.losses(views)
    assert all(last[name] < 0.8 * first[name] for name in first)


@pytest.mark.filterwarnings("ignore:localize")
def test_the_model_runs_in_the_mode_that_it_is_in():
    seen = []

    class Noting(nn.Conv2d):
        def forward(self, x):
            seen.append(self.training)
            return super().forward(x)

    model = nn.Sequential(Noting(1, 10, 3), nn.ReLU())
    net = localized(model, at=["0"])
    seen.clear()
    net.learn(single(*(t[:4] for t in digits())))
    model.eval()
    model(digits()[0][:4])
    assert seen == [True, False]
    assert not model[0].training


@pytest.mark.parametrize(
    ("at", "changes", "complaint"),
    [
        (["stem", "midle"], {}, "the model has no sub-module 'midle'; did you mean 'middle'"),
        (["stem", "stem.0"], {}, "stem.0 lies inside stem"),
        (["stem"], {"block": {"goodness": "nonsense"}}, "nonsense"),
        (
            ["stem"],
            {"block": {"objective": "cross-entropy"}},
            "objective cross-entropy needs a goodness",
        ),
        (["stem"], {"optimizer": "adamm"}, "adamm"),
        (["middle.0"], {"shape": (3, 8, 8)}, "channels"),
    ],
)
def test_what_cannot_be_localized_is_refused_and_the_model_stays_as_it_was(at, changes, complaint):
    model = ResidualCNN()
    with pytest.raises((UserError, RuntimeError), match=complaint):
        localized(model, at, **changes)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_sub_module_that_makes_several_tensors_is_refused():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 4, batch_first=True)

        def forward(self, x):
            return self.lstm(x.squeeze(1))[0]

    with pytest.raises(UserError, match="a tuple comes out of lstm"):
        localized(Two(), at=["lstm"])


@pytest.mark.filterwarnings("ignore:localize")
def test_tensors_inside_lists_are_detached_too(seeded):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, pair):
            return self.linear(pair[0] + pair[1]["x"])

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.sum = nn.Linear(8, 8), Sum()

        def forward(self, x):
            h = self.before(x)
            return self.sum([h, {"x": h}])

    block = {"goodness": "sum-squares", "objective": "symba"}
    net = localized(Model(), at=["sum"], shape=(8,), block=block)
    x = torch.randn(6, 8)
    for _ in range(2):
        net.learn(Views(x, ("positive", "negative"), (3, 3)))
    assert net.body.before.weight.grad is None


@pytest.mark.filterwarnings("ignore:localize")
def test_a_part_in_evaluation_mode_stays_in_it(seeded):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.ReLU()))
    model[0][1].eval()
    net = localized(model, at=["0"])
    net.learn(single(*(t[:20] for t in digits())))
    net.goodness(single(digits()[0][:4]))
    assert not model[0][1].training
    assert (model[0][1].running_mean == 0).all()
    assert model[0].training


@pytest.mark.filterwarnings("ignore:localize")
def test_a_model_is_localized_once(seeded):
    model = ResidualCNN()
    localized(model, at=["stem"])
    with pytest.raises(UserError, match="stem of this model has a local block already"):
        localized(model, at=["last"])
