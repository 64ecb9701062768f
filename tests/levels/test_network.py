"""Level 1: a network, torch optimisers and a plain training loop."""

import copy
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import ffcore
from ffcore.errors import RunError, UserError
from ffcore.interfaces import BlackBox, Goodness, LayerContribution, LocalLoss, Views
from ffcore.local import BoxStage
from ffcore_blackbox.codes import WinnerTakeAll
from ffcore_channel.objectives import CwC
from ffcore_channel.partition import ChannelPartition
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.goodness import SumSquares
from ffcore_ff.handoffs import RMS
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_ff.objectives import Logistic
from ffcore_std.bodies import Dense
from ffcore_std.contributions import Sum
from ffcore_std.readouts import Softmax
from ffcore_std.schedules import Joint


def digits():
    data = load_digits()
    return torch.tensor(data.data, dtype=torch.float32) / 16, torch.tensor(data.target)


def layer(inputs, units=100, **changes):
    body = nn.Sequential(nn.Linear(inputs, units), nn.ReLU())
    parts = {"goodness": SumSquares(), "objective": Logistic(), "handoff": RMS(), **changes}
    return ffcore.LocalBlock(body, **parts)


def network(stages=None, **changes):
    torch.manual_seed(0)
    options = {
        "algorithm": ForwardForward(Overlay(), WrongLabel()),
        "example": digits()[0][:2],
        "classes": 10,
    }
    return ffcore.Network(stages or [layer(64), layer(100)], **{**options, **changes})


def epoch(net, optimizers, number=0):
    x, y = digits()
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(number))
    return [net.learn(x[rows], y[rows], optimizers) for rows in order.split(50)]


def test_a_plain_loop_learns_digits():
    net = network()
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-3)
    losses = [loss for number in range(8) for loss in epoch(net, optimizers, number)]
    assert list(losses[0]) == ["block1", "block2"]
    assert not any(loss.requires_grad for loss in losses[0].values())
    assert losses[-1]["block1"] < 0.5 * losses[0]["block1"]
    x, y = digits()
    assert (net.predict(x[1500:]) == y[1500:]).float().mean() > 0.8
    torch.testing.assert_close(net.predict_proba(x[:5]).sum(1), torch.ones(5))


def test_the_step_is_that_of_a_bare_loop_to_the_bit():
    net = network([layer(64)])
    twin = copy.deepcopy(net.blocks[0].body)
    x, y = (t[:50] for t in digits())
    step = ffcore.one_step(net, x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))[0]
    (rows,) = step.inputs
    goodness = twin(rows).square().sum(1)
    margin = torch.cat([100.0 - goodness[:50], goodness[50:] - 100.0])
    loss = nn.functional.softplus(margin).sum() / 50
    loss.backward()
    torch.testing.assert_close(step.losses["objective"], loss.detach())
    torch.testing.assert_close(step.gradients["body.0.weight"], twin[0].weight.grad)
    with torch.no_grad():
        torch.testing.assert_close(step.after["body.0.weight"], twin[0].weight - 0.1 * twin[0].weight.grad)


def test_a_saved_state_continues_to_the_bit(tmp_path):
    def fresh():
        net = network()
        return net, ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)

    whole, optimizers = fresh()
    epoch(whole, optimizers)
    torch.save({"net": whole.state_dict(), "optimizers": optimizers.state_dict()}, tmp_path / "half.pt")
    epoch(whole, optimizers, 1)
    resumed, optimizers = fresh()
    state = torch.load(tmp_path / "half.pt", weights_only=True)
    resumed.load_state_dict(state["net"])
    optimizers.load_state_dict(state["optimizers"])
    epoch(resumed, optimizers, 1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


@pytest.mark.parametrize(
    "given",
    [
        torch.optim.SGD,
        lambda parameters: torch.optim.SGD(parameters, lr=0.01),
        {"block1": torch.optim.Adam, "*": torch.optim.SGD},
    ],
    ids=["a class", "a function", "a mapping"],
)
def test_optimisers_are_given_as_a_class_a_function_or_a_mapping(given):
    net = network()
    optimizers = ffcore.optimizers(net, given)
    epoch(net, optimizers)
    first = type(optimizers.blocks["block1"].optimizer).__name__
    assert first == ("Adam" if isinstance(given, dict) else "SGD")


def test_a_torch_scheduler_reaches_every_block():
    net = network()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.8)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizers, gamma=0.5)
    epoch(net, optimizers)
    optimizers.step()
    scheduler.step()
    assert [b.optimizer.param_groups[0]["lr"] for b in optimizers] == [0.4, 0.4]


def test_kinds_and_objects_may_be_mixed():
    stages = [
        nn.Flatten(),
        ffcore.LocalBlock(Dense((64,), 50), "sum-squares", objective={"kind": "logistic", "threshold": 2.0}),
        lambda h: h.sign(),
        layer(50),
    ]
    algorithm = {"kind": "forward-forward", "labels": "overlay"}
    combined = {"kind": "readout", "name": "r"}
    net = network(stages, algorithm=algorithm, readouts={"r": "softmax"}, contribution=combined)
    epoch(net, ffcore.optimizers(net, torch.optim.Adam, lr=1e-3))
    assert [s.name for s in net.sources] == ["block1", "block2", "r"]


def test_learning_without_optimisers_names_the_call_that_makes_them():
    with pytest.raises(UserError, match=r"no optimisers; make them with ffcore\.optimizers\(net"):
        network().learn(*(t[:4] for t in digits()))


def test_a_non_finite_batch_names_the_block_and_leaves_the_weights():
    net = network()
    before = copy.deepcopy(list(net.parameters()))
    x, y = (t[:20] for t in digits())
    with pytest.raises(RunError, match=r"block block1: its loss \(objective\) is nan"):
        net.learn(x * math.nan, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    assert all(torch.equal(p, q) for p, q in zip(before, net.parameters(), strict=True))
    assert net.batches == 0


SHARED = nn.Linear(64, 64)
WRONG = {
    "a class": ({"goodness": SumSquares}, "SumSquares is a class; give an instance"),
    "another noun": ({"objective": SumSquares()}, "objective: a SumSquares is not an objective"),
    "an unknown kind": ({"goodness": "sum-square"}, "did you mean 'sum-squares'"),
    "an option": ({"objective": {"kind": "logistic", "treshold": 1}}, "did you mean 'threshold'"),
    "a misfit": ({"objective": "cross-entropy"}, "reads goodness of form 'class', but SumSquares"),
    "no goodness": ({"goodness": None}, "objective Logistic needs a goodness"),
}


@pytest.mark.parametrize(("changes", "complaint"), WRONG.values(), ids=WRONG)
def test_parts_of_a_block_that_do_not_fit_are_refused(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        layer(64, **changes)


MISFITS = {
    "an algorithm": ({"algorithm": SumSquares()}, "algorithm: a SumSquares is not an algorithm"),
    "no example": ({"example": None}, "example: should be a few samples"),
    "an example of another shape": (
        {"example": torch.zeros(2, 63)},
        r"^stage 0\.body\.0 \(Linear\): does not take an input of shape \(63,\): RuntimeError: mat1",
    ),
    "a model in which shapes differ": (
        {"stages": nn.Sequential(layer(64), nn.Sequential(nn.ReLU(), nn.Linear(99, 3)))},
        r"^1\.1 \(Linear\): does not take an input of shape \(100,\): RuntimeError: mat1",
    ),
    "an example of nothing": ({"example": torch.zeros(0, 64)}, "example: should be a few samples"),
    "too many classes": ({"classes": 65}, "65 classes do not fit"),
    "no classes": ({"classes": None}, "classes: should be the number"),
    "no block": ({"stages": [nn.Linear(64, 3)]}, "does not call any local block"),
    "a number as a stage": ({"stages": [3]}, "stage 0: should be a module, .*see ffcore.local.BoxStage"),
    "a module twice": (
        {"stages": [ffcore.LocalBlock(SHARED, "sum-squares"), ffcore.LocalBlock(SHARED, "sum-squares")]},
        "block2 shares its parameter body.weight with",
    ),
    "a contribution": ({"contribution": 3}, "contribution: an int is not a contribution"),
}


@pytest.mark.parametrize(("changes", "complaint"), MISFITS.values(), ids=MISFITS)
def test_invalid_networks_are_refused(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        network(**changes)


def test_a_block_belongs_to_one_network():
    stages = [layer(64)]
    network(stages)
    with pytest.raises(UserError, match="block1 belongs to another network already"):
        network(stages)


BATCHES = {
    "samples of another shape": ((torch.zeros(4, 63), torch.zeros(4).long()), "the network was built for"),
    "an array": ((digits()[0][:4].numpy(), torch.zeros(4).long()), "not a ndarray"),
    "classes of floats": ((torch.zeros(4, 64), torch.zeros(4)), "y: should be an int64 tensor"),
    "doubles": ((torch.zeros(4, 64).double(), torch.zeros(4).long()), r"x: samples are torch\.float64"),
    "too few classes": ((torch.zeros(4, 64), torch.zeros(3).long()), r"y: should be an int64 tensor \(4,\)"),
}


@pytest.mark.parametrize(("batch", "complaint"), BATCHES.values(), ids=BATCHES)
def test_batches_that_do_not_fit_are_refused(batch, complaint):
    net = network()
    with pytest.raises(UserError, match=complaint):
        net.learn(*batch, ffcore.optimizers(net, torch.optim.SGD))


OPTIMIZERS = {
    "an optimiser": (lambda net: torch.optim.SGD(net.parameters()), r"as in .*torch\.optim\.SGD, lr=…\)"),
    "a block that is not there": (lambda net: {"block3": torch.optim.SGD}, "there is no block 'block3'"),
    "a block without": (lambda net: {"block1": torch.optim.SGD}, "block block2 has none"),
    "something else": (lambda net: lambda p: 3, "should return a torch optimiser, not a int"),
    "of others": (
        lambda net: lambda p: torch.optim.SGD([nn.Parameter(torch.ones(1))]),
        "holds other parameters",
    ),
}


@pytest.mark.parametrize(("make", "complaint"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_invalid_optimisers_are_refused(make, complaint):
    net = network()
    with pytest.raises(UserError, match=complaint):
        ffcore.optimizers(net, make(net))


def test_options_of_an_optimiser_that_it_does_not_take_are_refused():
    with pytest.raises(UserError, match=r"block block1: .*'rate'"):
        ffcore.optimizers(network(), torch.optim.SGD, rate=1)


def test_a_goodness_is_measured_on_ones_in_evaluation_mode():
    class Running(Goodness):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(100)

        def forward(self, activity):
            return self.norm(activity).square().sum(1)

    made = layer(64, goodness=Running())
    network([made])
    assert (made.goodness.norm.running_mean == 0).all()
    assert made.info.unit_goodness == pytest.approx(100, rel=1e-4)


def by_super_class(**parts):
    """Two blocks; the goodness of the first has a column for each of two super-classes."""
    goodness = [ChannelPartition(hierarchy="data") for _ in range(2)]
    first = layer(64, 20, **{"goodness": goodness[0], **parts})
    second = layer(20, 20, goodness=goodness[1], objective=CwC())
    return network([first, second], algorithm="channel-class", superclass_of=torch.arange(10) // 5)


def test_an_objective_without_super_setup_learns_on_shared_columns():
    class Forgetful(CwC):
        def setup(self, context):
            self.place = context

    own, plain = by_super_class(objective=Forgetful()), by_super_class(objective=CwC())
    x, y = (t[:50] for t in digits())
    for net in (own, plain):
        loss = net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))["block1"]
    objective = own.blocks[0].loss.objective
    assert objective.place.column_of.tolist() == [0] * 5 + [1] * 5
    views = Views(x, ("all",), (50,), y=y)
    assert torch.equal(objective.targets(views), (y >= 5).long())
    assert loss.isfinite()
    torch.testing.assert_close(own.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_an_objective_inside_a_users_loss_gets_the_columns():
    class Own(LocalLoss):
        def __init__(self):
            super().__init__()
            self.inner = CwC()

        def setup(self, context):
            pass

        def forward(self, out, block, views):
            return {"objective": self.inner(out.goodness, views)}

    loss = Own()
    by_super_class(objective=None, loss=loss)
    assert loss.inner.column_of.tolist() == [0] * 5 + [1] * 5


def test_every_component_is_set_up_once_with_its_context():
    seen = {}

    def noted(kind):
        class Noted(kind):
            def setup(self, context):
                assert kind not in seen
                seen[kind] = context
                return super().setup(context)

        return Noted

    class Boxed(noted(BlackBox)):
        def forward(self, x):
            return x.sign()

    made = layer(64, 20, goodness=noted(SumSquares)(), objective=noted(Logistic)(), handoff=RMS())
    superclasses = torch.arange(10) // 5
    net = network(
        [made, Boxed()],
        algorithm=noted(ForwardForward)(noted(Overlay)(), noted(WrongLabel)()),
        readouts={"soft": noted(Softmax)(("block1",))},
        contribution=noted(Sum)(),
        schedule=noted(Joint)(),
        superclass_of=superclasses,
    )
    data = seen[ForwardForward]
    assert (data.shape, data.classes, data.readouts, data.statistics) == ((64,), 10, ("soft",), None)
    assert seen[Overlay] is data
    assert seen[WrongLabel] is data
    place = seen[SumSquares]
    assert (place.shape, place.in_shape, place.handoff_shape, place.goodness) == ((20,), (64,), (20,), None)
    assert (seen[Logistic].name, seen[Logistic].goodness) == ("block1", made.goodness)
    assert seen[Logistic].unit_goodness == 20
    assert (seen[BlackBox].shape, seen[BlackBox].name) == ((20,), "box2")
    assert (seen[Softmax].shape, seen[Softmax].name) == ((10,), "soft")
    assert [(f.name, f.handoff_shape) for f in seen[Softmax].features] == [("block1", (20,))]
    assert seen[Sum] is seen[Joint]
    assert (seen[Sum].shape, seen[Sum].blocks, seen[Sum].sources) == ((64,), 1, net.sources)
    assert all(context.superclass_of is superclasses for context in seen.values())
    assert len(seen) == 9


@pytest.mark.parametrize("returned", [None, "block9", ("block9",)])
def test_a_readout_without_names_of_blocks_is_refused(returned):
    class Astray(Softmax):
        def setup(self, context):
            super().setup(context)
            return returned

    with pytest.raises(UserError, match=r"readouts.soft: its setup returned .*; it should return names of"):
        network(readouts={"soft": Astray()})


def test_an_algorithm_that_returns_no_shape_is_refused():
    class Silent(ForwardForward):
        def setup(self, context):
            super().setup(context)

    with pytest.raises(UserError, match="algorithm: its setup returned None; it should return the shape"):
        network(algorithm=Silent(Overlay(), WrongLabel()))


def test_a_black_box_that_refuses_its_shape_is_reported():
    with pytest.raises(UserError, match="stage 1: group: 7 does not divide 100 units"):
        network([layer(64), WinnerTakeAll(7), layer(100)])


def test_a_users_contribution_combines():
    class First(LayerContribution):
        def combine(self, scores):
            return scores[0]

    net = network(contribution=First())
    x = digits()[0][:7]
    assert torch.equal(net.scores(x), net.evidence(x)[0])


def test_a_block_called_first_and_last_returns_its_handoff_both_times():
    first, second = layer(64, 64), layer(64, 64)
    net = network([first, second, first])
    steps = ffcore.one_step(net, *(t[:8] for t in digits()), ffcore.optimizers(net, torch.optim.SGD))
    torch.testing.assert_close(steps[1].inputs[0], steps[0].handoff)


def test_optimisers_of_another_network_are_refused():
    net, other = network(), network()
    x, y = (t[:8] for t in digits())
    with pytest.raises(UserError, match="that of block block1 holds parameters of another network"):
        net.learn(x, y, ffcore.optimizers(other, torch.optim.SGD))
    with pytest.raises(UserError, match="a SGD does not step block by block"):
        net.learn(x, y, torch.optim.SGD(net.parameters(), lr=0.1))
    assert net.optimizers is None


def test_classes_that_the_network_does_not_have_are_refused():
    net = network()
    with pytest.raises(UserError, match=r"classes run from 9 to 12; they should be 0 to 9"):
        net.learn(digits()[0][:4], torch.tensor([9, 10, 11, 12]), ffcore.optimizers(net, torch.optim.SGD))


def test_a_block_that_is_frozen_later_stops_learning():
    net = network()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    x, y = (t[:8] for t in digits())
    net.learn(x, y, optimizers)
    net.blocks[0].freeze()
    assert list(net.learn(x, y, optimizers)) == ["block2"]


@pytest.mark.parametrize("stored", [0, 1])
def test_a_block_frozen_in_torch_before_its_optimisers_are_made_does_not_learn(stored):
    net = network()
    x, y = (t[:8] for t in digits())
    net.blocks[stored].requires_grad_(False)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    learning = f"block{2 - stored}"
    assert list(net.learn(x, y, optimizers)) == list(net.learn(x, y)) == [learning]
    net.blocks[stored].requires_grad_(True)
    assert len(net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))) == 2


def test_a_block_frozen_in_torch_after_its_first_step_is_named():
    last = nn.Sequential(nn.Linear(100, 9), nn.Tanh())
    net = network([layer(64), ffcore.LocalBlock(last, goodness=SumSquares(), objective=Logistic())])
    batch = [t[:8] for t in digits()]
    net.learn(*batch, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    last[0].requires_grad_(False)
    with pytest.raises(
        UserError, match=r"^block block2: requires_grad is False .*make new ones .*freeze\(\)"
    ):
        net.learn(*batch)


def test_optimisers_without_anything_to_learn_are_refused():
    net = network()
    with pytest.raises(
        UserError, match=r"^optimizers: '\*' is None, but block block2 has parameters .*freeze"
    ):
        ffcore.optimizers(net, {"block1": torch.optim.SGD, "*": None}, lr=0.1)
    net.requires_grad_(False)
    with pytest.raises(UserError, match=r"^optimizers: no block has parameters that learn: requires_grad is"):
        ffcore.optimizers(net, torch.optim.SGD, lr=0.1)


def test_a_stage_with_parameters_outside_blocks_is_named():
    with pytest.warns(UserWarning, match=r"not in any block and will not learn: 1\.weight, 1\.bias"):
        network([layer(64), nn.Linear(100, 30), layer(30)])


def test_boxes_are_fitted_on_one_pair_or_on_several():
    class Centred(BlackBox):
        def fit(self, batches):
            self.mean = torch.cat(list(batches)).mean(0)

        def forward(self, x):
            return x - getattr(self, "mean", 0)

    x, y = digits()
    for batches in ((x, y), [(x, y)], lambda: iter([(x, y)])):
        box = Centred()
        assert network([BoxStage(box), layer(64)]).fit_boxes(batches)
        assert box.mean.shape == (64,)


def test_parts_that_are_made_in_setup_have_the_dtype_of_the_model():
    x, y = (each[:50] for each in digits())
    blocks = [
        ffcore.LocalBlock(nn.Linear(inputs, 20).double(), "linear-head", objective="cross-entropy")
        for inputs in (64, 20)
    ]
    readouts = {"all": "softmax"}
    net = network(blocks, algorithm="local-errors", example=x.double(), readouts=readouts)
    losses = net.learn(x.double(), y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    assert {loss.dtype for loss in losses.values()} == {torch.float64}
