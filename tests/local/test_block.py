"""One block: its handoff, its graph and its state."""

import copy
import functools

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import BlackBox, Goodness, LabelledInput, Penalty, Readout, Views
from ffcore.local import BoxStage, GoodnessLoss, Gradient, LocalBlock, LocalNetwork, Pass, block_optimizers
from ffcore.testing.scenery import Energy, Margin
from ffcore_std.bodies import Dense

N, D = 4, 5


def pair(x):
    return Views(x, ("positive", "negative"), (len(x) // 2,) * 2)


def rows(n=2 * N, seed=0):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def block(body=None, lr=0.1, **kwargs):
    made = LocalBlock(body or nn.Linear(D, D), Energy(), GoodnessLoss(Margin()), **kwargs)
    made.lr = lr
    return made


def network(body, shape=(D,), classes=2, readouts=None):
    """A network with plain gradient descent."""
    net = LocalNetwork(body, shape, classes, readouts)
    rates = {name: getattr(b, "lr", 0.1) for name, b in net.learners.items()}
    net.optimizers = block_optimizers(
        net, {name: functools.partial(torch.optim.SGD, lr=lr) for name, lr in rates.items()}
    )
    return net


def test_the_handoff_is_computed_before_the_update():
    net = network(block(), (D,), 2)
    seen = []
    net.body.register_forward_hook(lambda module, args, out: seen.append(out))
    before = net.body.body(rows()).detach()
    net.learn(pair(rows()))
    assert torch.equal(seen[0], before)
    assert not torch.equal(net.body.body(rows()), before)


def test_the_handoff_never_requires_grad():
    net = network(nn.Sequential(block(), block(), block()), (D,), 2)
    seen = []
    for b in net.blocks:
        b.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    net.learn(pair(rows()))
    assert len(seen) == 3
    assert not any(t.requires_grad for both in seen for t in both)


class Handed(Penalty):
    """Reads the handoff."""

    reads_handoff = True

    def forward(self, out, block, views):
        return out.handoff.square().mean()


def test_a_penalty_on_the_handoff_has_its_gradient_and_the_graph_ends_there():
    body = nn.Linear(D, D)
    first = LocalBlock(body, Energy(), GoodnessLoss(Margin(), {"handed": Handed()}), nn.Tanh())
    first.lr, twin = 1.0, copy.deepcopy(body)
    net = network(nn.Sequential(first, block()), (D,), 2)
    seen = []
    first.register_forward_hook(lambda module, args, out: seen.append(out))
    net.learn(pair(rows()))
    assert not seen[0].requires_grad
    h = twin(rows())
    positive, negative = h.square().mean(1).chunk(2)
    (nn.functional.softplus(negative - positive).mean() + h.tanh().square().mean()).backward()
    torch.testing.assert_close(twin.weight - body.weight, twin.weight.grad)


def test_a_leaf_that_requires_grad_gets_its_gradient():
    b = block(lr=0.0)
    x = rows().requires_grad_()
    net = network(b, (D,), 2)
    net.learn(pair(x))
    right = x.detach().requires_grad_()
    positive, negative = b.goodness(b.body(right)).chunk(2)
    nn.functional.softplus(negative - positive).mean().backward()
    torch.testing.assert_close(x.grad, right.grad)


def test_an_input_with_a_history_gets_no_gradient():
    leaf = rows().requires_grad_()
    net = network(block(), (D,), 2)
    net.learn(pair(leaf * 2))
    assert leaf.grad is None


def test_a_block_that_runs_twice_in_a_pass_learns_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = block()

        def forward(self, x):
            return self.b(self.b(x))

    net = network(Twice(), (D,), 2)
    twin = copy.deepcopy(net.body.b.body)
    x = rows()
    for _ in range(2):
        h = twin(x)
        positive, negative = h.square().mean(1).chunk(2)
        gradients = torch.autograd.grad(
            nn.functional.softplus(negative - positive).mean(), list(twin.parameters())
        )
        x = h.detach()
        with torch.no_grad():
            for p, g in zip(twin.parameters(), gradients, strict=True):
                p.sub_(0.1 * g)
    net.learn(pair(rows()))
    torch.testing.assert_close(net.body.b.body.state_dict(), twin.state_dict(), rtol=0, atol=1e-6)


def test_per_view_is_separate_passes_for_batch_statistics():
    body = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D))
    net = network(block(body, lr=0.0, per_view=True), (D,), 2)
    seen = []
    net.body.register_forward_hook(lambda module, args, out: seen.append(out))
    x = rows()
    net.train()
    twin = copy.deepcopy(body).train()
    net.learn(pair(x))
    torch.testing.assert_close(seen[0], torch.cat([twin(x[:N]), twin(x[N:])]))
    torch.testing.assert_close(body[1].running_mean, twin[1].running_mean)


def test_a_body_may_return_another_input_of_the_handoff():
    class Two(nn.Module):
        def forward(self, x):
            return x, 2 * x

    b = LocalBlock(Two(), Energy())
    here = Pass(pair(rows()), wants_goodness=True)
    handed_on = here.run([b], rows())
    assert torch.equal(handed_on, 2 * rows())
    torch.testing.assert_close(here.views.upstream, [rows().square().mean(1)])


def test_a_pass_without_learning_leaves_no_graph_and_changes_nothing():
    net = network(nn.Sequential(block(), block()), (D,), 2)
    before = copy.deepcopy(net.state_dict())
    assert not any(g.requires_grad for g in net.goodness(pair(rows())))
    assert not any(loss.requires_grad for loss in net.losses(pair(rows())).values())
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


def test_a_black_box_has_no_graph_before_or_after_it():
    class Box(BlackBox):
        def forward(self, x):
            self.saw_grad = x.requires_grad or torch.is_grad_enabled()
            return x.sign()

    box = Box()
    net = network(nn.Sequential(block(), BoxStage(box), block()), (D,), 2)
    net.learn(pair(rows()))
    assert box.saw_grad is False
    leaf = rows().requires_grad_()
    assert not BoxStage(box)(leaf).requires_grad


def test_names_are_unique():
    body = nn.Sequential(block(name="one"), block(name="one"))
    with pytest.raises(UserError, match="'one' is taken twice"):
        network(body, (D,), 2)


def test_a_module_without_a_local_block_is_refused():
    with pytest.raises(UserError, match="does not call any local block"):
        network(nn.Linear(D, D), (D,), 2)


def test_blocks_get_their_context():
    net = network(nn.Sequential(block(), block(nn.Linear(D, 3))), (D,), 2)
    infos = [b.info for b in net.blocks]
    assert [(i.name, i.depth, i.blocks, i.shape, i.classes) for i in infos] == [
        ("block1", 0, 2, (D,), 2),
        ("block2", 1, 2, (3,), 2),
    ]
    assert infos[0].unit_goodness == 1.0


def test_a_pass_records_the_losses_of_each_block():
    record = []
    net = network(nn.Sequential(block(), block()), (D,), 2)
    net.record = lambda b, terms, samples: record.append((b.name, dict(terms)))
    net.learn(pair(rows()))
    assert [(name, list(terms)) for name, terms in record] == [
        ("block1", ["objective"]),
        ("block2", ["objective"]),
    ]


def test_a_block_that_does_not_learn_has_no_dropout_and_keeps_running_statistics():
    net = network(block(nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Dropout(0.5))), (D,), 2)
    net.train()
    before = copy.deepcopy(net.state_dict())
    first, second = (net.goodness(pair(rows())) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training


def test_a_labelled_input_is_detached_as_any_other():
    code = nn.Parameter(torch.zeros(2 * N, 2))
    base = rows(N)
    base[:, :2] = 0
    net = network(block(), (D,), 2)
    net.learn(Views(LabelledInput(base, code * 1.0), ("positive", "negative"), (N, N)))
    assert code.grad is None


@pytest.mark.parametrize("kind", ["no closed form after all", "a rule of its own"])
def test_autograd_is_used_where_a_closed_form_is_missing(kind):
    class Sometimes(Energy):
        def vjp(self, activity, up):
            return None

    class Own(Gradient):
        def learn(self, window, views):
            ((of_block, _, out),) = window
            of_block.losses(out, views)["objective"].backward()
            return [{}]

    torch.manual_seed(0)
    dense = Dense((D,), D)
    plain = block(copy.deepcopy(dense.linear))
    plain.body = nn.Sequential(plain.body, nn.ReLU())
    rule, goodness = (None, Sometimes()) if kind.startswith("no") else (Own(), Energy())
    made = LocalBlock(dense, goodness, GoodnessLoss(Margin()), rule=rule)
    for one in (plain, made):
        network(one, (D,), 2).learn(pair(rows()))
    torch.testing.assert_close(list(made.parameters()), list(plain.parameters()))


def test_a_readout_gets_its_taps_in_the_order_it_asked_for():
    class Backwards(Readout):
        def setup(self, context):
            self.linear = nn.Linear(3, 2)
            return ("block2", "block1")

        def forward(self, second, first):
            self.seen = second.shape[1], first.shape[1]
            return self.linear(second)

    body = nn.Sequential(block(nn.Linear(D, 4)), block(nn.Linear(4, 3)))
    readout = Backwards()
    network(body, (D,), 2, {"readout": readout}).read(pair(rows()))
    assert readout.seen == (3, 4)


def test_a_goodness_whose_shape_does_not_match_its_form_is_refused():
    class Whole(Energy):
        def forward(self, activity):
            return activity

    with pytest.raises(UserError, match=r"block1: .* of Whole returned a tensor \(2, 5\).*form is 'energy'"):
        network(LocalBlock(nn.Linear(D, D), Whole(), GoodnessLoss(Margin())), (D,), 2)


def test_a_callers_leaf_may_pass_through_an_identity_body():
    leaf = rows().requires_grad_()
    scale = nn.ParameterList([nn.Parameter(torch.ones(()))])
    made = LocalBlock(nn.Identity(), Energy(), GoodnessLoss(Margin()))
    made.goodness.scale = scale  # something to learn, so that the block has a place in the plan
    net = network(made, (D,), 2)
    net.learn(pair(leaf))
    right = torch.autograd.grad(Margin()(Energy()(leaf), pair(leaf)), leaf)[0]
    torch.testing.assert_close(leaf.grad, right)


@pytest.mark.parametrize("columns", [2, 5])
def test_a_class_goodness_has_one_column_per_class(columns):
    class Columns(Goodness):
        form = "class"

        def forward(self, activity):
            return activity[:, :columns]

    block = LocalBlock(nn.Linear(4, 8), Columns())
    with pytest.raises(
        UserError, match=f"its goodness Columns has {columns} columns, where 3 classes need 3"
    ):
        network(nn.Sequential(block), (4,), 3)
