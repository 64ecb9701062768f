"""Local blocks inside existing PyTorch models."""

import copy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import RunError, UserError
from ffcore.interfaces import Algorithm, Goodness, Progress, Views
from ffcore_ff.goodness import SumSquares
from ffcore_ff.objectives import SymBa

CHANNELS = {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "instance-norm"}
SQUARES = {"goodness": "sum-squares", "objective": "symba"}


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


class Given(Algorithm):
    """Views are made by the test."""

    accepts = frozenset({"energy"})

    def views(self, batch, net):
        raise NotImplementedError


def single(x, y=None):
    return Views(x, ("all",), (len(x),), y=y)


@pytest.fixture
def seeded():
    torch.manual_seed(0)


def localized(model=None, at=("stem", "middle", "last"), optimizer=torch.optim.Adam, lr=1e-2, **changes):
    options = {"example": digits()[0][:2], "classes": 10, "algorithm": "channel-class", **CHANNELS, **changes}
    net = ffcore.localize(model if model is not None else ResidualCNN(), at, **options)
    net.local.optimizers = ffcore.optimizers(net, optimizer, lr=lr)
    return net


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_a_residual_cnn_learns_digits_without_a_head(seeded):
    net = localized()
    accuracy, _ = learned(net)
    assert accuracy > 0.7


def learned(net, epochs=3):
    """Accuracy on 297 samples of the network, and of what the model makes."""
    x, y = digits()
    for epoch in range(epochs):
        order = torch.randperm(1500, generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(50):
            net.learn(x[rows], y[rows])
    model = net.local.body.eval()
    return [
        float((said == y[1500:]).float().mean())
        for said in (net.predict(x[1500:]), model(x[1500:]).argmax(1))
    ]


def test_a_head_learns_so_that_the_model_classifies(seeded):
    # instance norm would leave nothing of the channels' means, which the head reads
    net = localized(at={"stem": None, "middle": None, "last": {"handoff": None}}, head="head")
    of_network, of_model = learned(net)
    assert of_network == of_model > 0.7
    assert [(source.name, source.role) for source in net.sources][-1] == ("head", "readout")


def test_a_head_learns_beside_forward_forward_on_samples_without_a_label(seeded):
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 200), nn.ReLU()), nn.Linear(200, 10))
    net = localized(model, at="1", head="2", algorithm="forward-forward", handoff="rms", **SQUARES)
    of_network, of_model = learned(net, epochs=6)
    assert of_network > 0.7
    assert of_model > 0.7


def test_a_plain_layer_beside_a_head_updates_its_running_statistics_once_a_step(seeded):
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 20), nn.BatchNorm1d(20, affine=False), nn.Linear(20, 10)
    )
    net = localized(model, at="1", head="3", algorithm="forward-forward", handoff="rms", **SQUARES)
    x, y = digits()
    net.learn(x[:50], y[:50])
    assert model[2].num_batches_tracked == 1
    assert model[2].training


def test_a_delocalized_model_has_its_weights_and_no_blocks(seeded):
    net = localized(head="head", handoff=None)
    learned(net, epochs=1)
    x = digits()[0][:5]
    model = ffcore.delocalize(net)
    weights = model.state_dict()
    assert not any("forward" in vars(module) for module in model.modules())
    plain = ResidualCNN()
    plain.load_state_dict(weights)
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))
    model(x).sum().backward()
    assert model.stem[0].weight.grad is not None  # a gradient goes through all of it again


def test_sub_modules_may_have_settings_of_their_own(seeded):
    at = {
        "stem": {"goodness": SumSquares(), "objective": SymBa(), "handoff": None},
        "middle": None,
        "last": None,
    }
    net = localized(at={**at, "stem": {"handoff": "identity"}}, head="head")
    assert [type(b.handoff).__name__ for b in net.blocks] == ["Identity", "InstanceNorm", "InstanceNorm"]


def test_every_block_has_a_copy_of_a_component_that_is_given_as_an_object(seeded):
    goodness = SumSquares()
    net = localized(
        at=["stem", "middle", "last"],
        head="head",
        algorithm="forward-forward",
        goodness=goodness,
        objective=SymBa(),
        handoff="rms",
    )
    assert len({id(b.goodness) for b in net.blocks} | {id(goodness)}) == 4


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
@pytest.mark.parametrize("given", [tuple, dict])
def test_a_model_may_take_several_inputs(given, seeded):
    class Reader(nn.Module):
        """Class logits from tokens and a mask."""

        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(17, 32)
            self.layer = nn.Sequential(nn.Linear(32, 40), nn.ReLU())
            self.head = nn.Linear(40, 10)

        def forward(self, tokens, mask):
            return self.head((self.layer(self.embedding(tokens)) * mask.unsqueeze(2)).mean(1))

    x, y = digits()
    tokens = (x * 16).long().flatten(1)
    both = [tokens, torch.ones_like(tokens)]

    def rows(which):
        parts = [t[which] for t in both]
        return tuple(parts) if given is tuple else dict(zip(("tokens", "mask"), parts, strict=True))

    net = localized(
        Reader(), at="layer", head="head", example=rows(slice(2)), goodness=Positions(), handoff=None
    )
    losses = [net.learn(rows(slice(i, i + 50)), y[i : i + 50])["layer"] for i in range(0, 1500, 50)]
    assert losses[-1] < losses[0]
    assert net.predict(rows(slice(7))).shape == (7,)
    with pytest.raises(UserError, match="the network was built for"):
        net.predict(tokens)


class Positions(Goodness):
    """Mean over positions of the first units: (R, T, U) → (R, K)."""

    form = "class"

    def forward(self, activity):
        return activity.mean(1)[:, :10]


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_a_sub_module_may_return_several_tensors(seeded):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(8, 30, batch_first=True)
            self.head = nn.Linear(30, 10)

        def forward(self, x):
            states, (last, cell) = self.lstm(x.squeeze(1))
            assert not last.requires_grad
            assert not cell.requires_grad
            return self.head(states[:, -1])

    net = localized(Recurrent(), at="lstm", head="head", goodness=Positions(), handoff=None)
    assert learned(net, epochs=2)[1] > 0.3


def test_one_non_finite_batch_names_the_block_and_leaves_the_weights(seeded):
    net = localized(head="head")
    before = parameters(net)
    x, y = digits()
    with pytest.raises(RunError, match=r"block (head|stem): its loss \(objective\) is nan"):
        net.learn(torch.full_like(x[:20], float("nan")), y[:20])
    torch.testing.assert_close(parameters(net), before, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())


def test_parameters_outside_blocks_are_named():
    with pytest.warns(UserWarning, match=r"will not learn: head\.weight, head\.bias$"):
        localized()


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_the_models_state_dict_does_not_change(seeded):
    model = ResidualCNN()
    keys, x = list(model.state_dict()), digits()[0][:4]
    before = model(x)
    localized(model, handoff=None)
    assert list(model.state_dict()) == keys
    torch.testing.assert_close(model(x), before)


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_no_gradient_crosses_from_one_sub_module_to_another(seeded):
    model = ResidualCNN()
    net = localized(model)
    net.blocks[0].freeze()
    net.local.plan([range(1), range(1, 2)])
    before = parameters(model)
    net.local.learn(single(*(t[:20] for t in digits())))
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"middle", "last"}
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_a_copy_of_the_model_has_its_own_blocks(seeded):
    net = localized()
    twin = copy.deepcopy(net)
    before = parameters(net)
    twin.learn(*(t[:20] for t in digits()), ffcore.optimizers(twin, torch.optim.SGD, lr=0.1))
    torch.testing.assert_close(parameters(net), before, rtol=0, atol=0)
    assert not torch.equal(twin.local.body.last[0].weight, before["local.body.last.0.weight"])


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
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

    options = {"goodness": "sum-squares", "objective": {"kind": "symba"}, "handoff": None}
    net = localized(Reader(), at=["encoder.layers.*"], algorithm=Given(), **options).local
    assert [b.name for b in net.blocks] == ["encoder-layers-0", "encoder-layers-1"]
    x = digits()[0][:64]
    views = Views(torch.cat([x, x.flip(3)]), ("positive", "negative"), (64, 64))
    first = net.losses(views)
    for _ in range(30):
        net.learn(views)
    last = net.losses(views)
    assert all(last[name] < 0.8 * first[name] for name in first)


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_blocks_follow_the_mode_of_the_model():
    seen = []

    class Noting(nn.Conv2d):
        def forward(self, x):
            seen.append(self.training)
            return super().forward(x)

    model = nn.Sequential(Noting(1, 10, 3), nn.ReLU())
    net = localized(model, at=["0"])
    seen.clear()
    net.learn(*(t[:4] for t in digits()))
    model.eval()
    model(digits()[0][:4])
    assert seen == [True, False]
    assert not model[0].training


@pytest.mark.parametrize(
    ("at", "changes", "complaint"),
    [
        (["stem", "midle"], {}, "the model has no sub-module 'midle'; did you mean 'middle'"),
        (["stem", "stem.0"], {}, "stem.0 is inside stem"),
        ("layers", {}, "the model has no sub-module 'layers'"),
        ([], {}, "at is empty"),
        ([nn.ReLU()], {}, "should be the name of a sub-module"),
        ({"stem": "sum-squares"}, {}, r"at\['stem'\]: should be settings"),
        (
            {"stem": {"goodnes": "sum-squares"}},
            {},
            r"at\['stem'\] there is no setting 'goodnes'; did you mean",
        ),
        (["stem"], {"goodness": "nonsense"}, "stem: goodness  kind: 'nonsense' is not a goodness"),
        (["stem"], {"goodness": None}, "stem: goodness: objective CrossEntropy needs a goodness"),
        (["stem"], {"goodness": SumSquares}, r"SumSquares is a class; give an instance"),
        (["stem"], {"objective": SumSquares()}, "a SumSquares is not an objective"),
        (["stem"], {"head": "stem"}, "head='stem' is also in at"),
        (
            ["middle.0"],
            {"example": torch.zeros(2, 3, 8, 8)},
            r"Conv2d\): does not take .* \(3, 8, 8\): .*channels",
        ),
        (["stem"], {"example": "x"}, "example: should be a few samples"),
        (["stem"], {"classes": 2.5}, "classes: should be the number of classes"),
    ],
)
def test_invalid_arguments_are_refused_and_the_model_does_not_change(at, changes, complaint):
    model = ResidualCNN()
    with pytest.raises((UserError, RuntimeError), match=complaint):
        localized(model, at, **changes)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_module_list_is_refused():
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(64, 10)])
    with pytest.raises(
        UserError, match=r"layers is a ModuleList, a container that is never called; .*'layers\.\*'"
    ):
        localized(model, at="layers")


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
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

    x = torch.randn(6, 8)
    net = localized(Model(), at=["sum"], example=x, algorithm=Given(), handoff=None, **SQUARES).local
    for _ in range(2):
        net.learn(Views(x, ("positive", "negative"), (3, 3)))
    assert net.body.before.weight.grad is None


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_a_part_in_evaluation_mode_stays_in_it(seeded):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 10, 3), nn.BatchNorm2d(10), nn.ReLU()))
    model[0][1].eval()
    net = localized(model, at=["0"])
    net.learn(*(t[:20] for t in digits()))
    net.predict(digits()[0][:4])
    assert not model[0][1].training
    assert (model[0][1].running_mean == 0).all()
    assert model[0].training


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_a_model_is_localized_once(seeded):
    model = ResidualCNN()
    localized(model, at=["stem"])
    with pytest.raises(UserError, match="stem of this model has a local block already"):
        localized(model, at=["last"])


@pytest.mark.filterwarnings("ignore:these parameters are not in any block")
def test_components_of_localized_blocks_advance(seeded):
    class Counting(SymBa):
        seen = 0

        def advance(self, progress):
            type(self).seen += 1

    net = localized(
        at=["stem"], algorithm=Given(), goodness="sum-squares", objective=Counting(), handoff=None
    )
    net.advance(Progress(0, 0, 1))
    assert Counting.seen == 1


def test_delocalize_warns_of_a_handoff():
    net = localized(head="head")
    with pytest.warns(UserWarning, match="stem, middle, last had a handoff"):
        ffcore.delocalize(net)
