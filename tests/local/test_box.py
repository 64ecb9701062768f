"""Black boxes between blocks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from ffcore.errors import RunError, UserError
from ffcore.interfaces import BlackBox, Context, LabelledInput, Views
from ffcore.local import BoxStage, GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.tasks import Unsupervised
from ffcore.testing.scenery import Energy, Margin, taught

D = 4


class Box(BlackBox):
    """Returns the result of ``make`` and records its inputs."""

    def __init__(self, make=lambda x: x, limit=None):
        super().__init__()
        self.make, self.limit, self.seen, self.fitted = make, limit, [], []

    def forward(self, x):
        self.seen.append(x)
        return self.make(x)


class Adapting(Box):
    """A box with a ``fit``."""

    def fit(self, batches):
        self.fitted.append([batch.clone() for batch in batches])


def x(rows=6):
    return torch.randn(rows, D, generator=torch.Generator().manual_seed(0))


def block():
    return LocalBlock(nn.Linear(D, D), Energy(), GoodnessLoss(Margin()))


def views():
    return Views(x(), ("positive", "negative"), (3, 3))


@pytest.mark.parametrize(
    ("make", "right"),
    [
        (lambda x: x > 0, lambda x: (x > 0).float()),
        (lambda x: (x * 10).long(), lambda x: (x * 10).long().float()),
        (lambda x: x.double(), lambda x: x),
        (lambda x: x.double().numpy(), lambda x: x),
        (lambda x: np.asfortranarray(x.numpy())[::-1], lambda x: x.flip(0)),
        (lambda x: sparse.csr_matrix(x.numpy()), lambda x: x),
        (lambda x: x.to_sparse(), lambda x: x),
        (lambda x: x.sum(1), lambda x: x.sum(1, keepdim=True)),
    ],
)
def test_the_output_becomes_dense_with_the_dtype_of_the_input(make, right):
    torch.testing.assert_close(BoxStage(Box(make))(x()), right(x()))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda x: None, "it returned None"),
        (lambda x: x[1:], "it returned shape .5, 4. for 6 rows"),
        (lambda x: x.sum(), r"it returned shape \(\) for 6 rows"),
        (lambda x: x / 0, "its output has non-finite values"),
        (lambda x: x.to(torch.complex64), "it returned numbers of type torch.complex64"),
        (lambda x: x.numpy().astype(object), "it returned numbers of type object"),
        (lambda x: x.tolist(), "it returned a list"),
        (lambda x: 1 / 0, "its forward raised ZeroDivisionError: division by zero"),
        (lambda x: x[:, 9], "its forward raised IndexError"),
        (lambda x: x.add_(1), "it has changed its input in place"),
        (lambda x: x.double() + 1e200, "its output has non-finite values"),
    ],
)
def test_an_error_of_a_box_is_one_line_with_its_path(make, complaint):
    with pytest.raises(RunError, match=f"^sign1, network.1: {complaint}") as caught:
        BoxStage(Box(make), "sign1", "sign1, network.1")(x())
    assert "\n" not in str(caught.value)


def test_another_shape_at_a_later_call_is_refused():
    widths = iter([4, 3])
    stage = BoxStage(Box(lambda x: x[:, : next(widths)]))
    stage(x())
    with pytest.raises(RunError, match=r"it returned samples of shape \(3,\), earlier ones had \(4,\)"):
        stage(x())


def test_batches_are_split_to_the_limit_of_the_box():
    box = Box(lambda x: 2 * x, limit=4)
    torch.testing.assert_close(BoxStage(box)(x(10)), 2 * x(10))
    assert [len(part) for part in box.seen] == [4, 4, 2]


def test_a_box_may_return_the_same_memory_every_time():
    memory = np.zeros((2, D), dtype=np.float32)

    def answer(x):
        memory[: len(x)] = x.numpy()
        return memory[: len(x)]

    stage = BoxStage(Box(answer, limit=2))
    first = stage(x())
    stage(2 * x())
    torch.testing.assert_close(first, x())


def test_a_box_gets_the_dense_form_of_a_labelled_input():
    base = torch.cat([torch.zeros(3, 1), x(3)[:, 1:]], dim=1)
    box = Box()
    BoxStage(box)(LabelledInput(base, torch.ones(6, 1)))
    assert box.seen[0].shape == (6, D)


def test_no_graph_enters_or_crosses_a_box():
    box = Box()
    net = taught(LocalNetwork(nn.Sequential(block(), BoxStage(box), block()), (D,), 2))
    for _ in range(2):
        net.learn(views())
    assert box.seen
    assert not any(seen.requires_grad for seen in box.seen)
    before = torch.randn(6, D, requires_grad=True)
    assert not BoxStage(box)(before).requires_grad


def network(box, fit):
    torch.manual_seed(0)
    return LocalNetwork(nn.Sequential(block(), BoxStage(box, fit=fit), block()), (D,), 2)


def fits(net, epochs, plans=None):
    """The epochs after which the box was fitted."""
    box, when = net.boxes[0].box, []
    for epoch in range(epochs):
        if plans is not None:
            net.plan(plans[epoch])
        before = len(box.fitted)
        net.fit_boxes(epoch, lambda: iter([views(), views()]))
        when += [epoch] * (len(box.fitted) - before)
    return when


def test_a_box_is_fitted_at_the_start_and_when_the_recipe_asks():
    assert fits(network(Adapting(), "start"), 4) == [0]
    assert fits(network(Adapting(), 2), 4) == [0, 2]
    greedy = [[range(1)], [range(1)], [range(1, 2)], [range(1, 2)]]
    late = [[range(1, 2)], [range(1, 2)], [range(1, 2)]]
    assert fits(network(Adapting(), "finished"), 3, late) == [0]  # finished from the beginning
    assert fits(network(Adapting(), "finished"), 4, greedy) == [0, 2]
    assert fits(network(Box(), "finished"), 4, greedy) == []  # it has nothing to fit


def test_a_box_is_fitted_on_the_handoffs_before_it():
    net = network(Adapting(), "start")
    fits(net, 1)
    right = net.body[0](x()).detach()
    (batches,) = net.boxes[0].box.fitted
    assert len(batches) == 2
    torch.testing.assert_close(batches[0], right)


def test_a_box_that_reads_targets_is_fitted_on_samples_with_their_targets():
    box = Adapting()
    box.reads_targets = True
    box.fit = box.fitted.extend
    net = network(box, "start")
    given = replace(views(), y=torch.tensor([1, 0, 1]))
    net.fit_boxes(0, lambda: iter([given]))
    ((inputs, y),) = box.fitted
    torch.testing.assert_close(inputs, net.body[0](x()).detach()[:3])
    assert torch.equal(y, given.y)


def test_a_box_that_reads_targets_is_refused_without_targets():
    box = Adapting()
    box.reads_targets = True
    with pytest.raises(UserError, match="box: it is fitted to targets, but the task has none"):
        BoxStage(box, "box").place(Context((D,), 1, task=Unsupervised()))


def test_a_box_that_was_fitted_is_not_fitted_again_after_a_checkpoint():
    net, resumed = network(Adapting(), "start"), network(Adapting(), "start")
    fits(net, 1)
    resumed.load_state_dict(net.state_dict())
    assert fits(resumed, 2) == []


class Observing(Box):
    """An online learner."""

    def observe(self, x, y):
        self.fitted.append((x.clone(), y, len(self.seen)))


def test_an_online_box_observes_the_samples_of_every_learning_pass_after_its_answer():
    box = Observing()
    net = taught(LocalNetwork(nn.Sequential(block(), BoxStage(box), block()), (D,), 2))
    given = replace(views(), y=torch.tensor([1, 0, 1]))
    box.seen.clear()
    right = net.body[0](x()).detach()
    net.goodness(given)
    assert not box.fitted
    net.learn(given)
    ((inputs, y, calls),) = box.fitted
    torch.testing.assert_close(inputs, right[:3])
    assert torch.equal(y, given.y)
    assert calls == 2


@pytest.mark.parametrize(
    ("make", "right"),
    [
        (lambda x: x.double() / 2, torch.float32),  # an embedding of tokens
        (lambda x: (x // 2).int(), torch.int64),  # other tokens
    ],
)
def test_the_output_of_tokens_is_real_or_integer_as_the_box_returns_it(make, right):
    tokens = torch.arange(12).view(3, 4)
    made = BoxStage(Box(make))(tokens)
    assert made.dtype == right
    assert torch.equal(made.double(), make(tokens).double())


def test_a_box_that_was_not_fitted_does_not_learn_silently():
    net = taught(LocalNetwork(nn.Sequential(block(), BoxStage(Adapting(), "b"), block()), (D,), 2))
    with pytest.raises(UserError, match=r"b: it has not been fitted; .* net\.fit_boxes\(batches\)"):
        net.learn(views())
    net.fit_boxes(0, lambda: iter([views()]))
    net.learn(views())


def test_a_stage_takes_a_function_or_a_kind():
    assert torch.equal(BoxStage(lambda rows: rows.sign())(x()), x().sign())
    assert torch.equal(BoxStage({"kind": "step", "threshold": 0.5})(x()), (x() > 0.5).float())
    with pytest.raises(UserError, match=r"b .*'nothing' is not a blackbox"):
        BoxStage("nothing", "b")
