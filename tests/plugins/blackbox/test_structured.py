"""A penalty that asks a solver, beside the formula written a second time."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import RunError, UserError
from ffcore.interfaces import BlackBox
from ffcore.tasks import Classification, MultiLabel, PixelClassification
from ffcore_blackbox.paths import ShortestPath
from ffcore_blackbox.structured import StructuredPerceptron

D, SIDE, N = 5, 3, 4


def conv(outputs, **options):
    return ffcore.LocalBlock(nn.Conv2d(D, outputs, 1), **options)


def maps():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, SIDE, SIDE, generator=generator)
    y = torch.zeros(N, SIDE, SIDE, dtype=torch.int64)
    y[:, 0], y[:, :, -1] = 1, 1  # along the first row, then down
    return x, y


def network(objective="cross-entropy", weight=1.0, box="shortest-path"):
    torch.manual_seed(0)
    penalties = {"solved": {"kind": "structured-perceptron", "box": box, "weight": weight}}
    block = conv(2, goodness="logits", objective=objective, penalties=penalties)
    return ffcore.Network([block], "local-errors", maps()[0][:2], task=PixelClassification(2))


def test_a_step_on_paths_is_that_of_the_formula():
    x, y = maps()
    net = network({"kind": "cross-entropy", "weight": 0.0}, weight=0.5)
    conv = net.blocks[0].body
    weight, bias = (p.detach().clone().requires_grad_() for p in conv.parameters())
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))

    logits = torch.einsum("kd,ndij->nkij", weight[:, :, 0, 0], x) + bias[:, None, None]
    costs = -(logits[:, 1] - torch.logsumexp(logits, 1))
    found = torch.from_numpy(ShortestPath()(logits.detach()))[:, 0]
    assert (found != y).any()
    loss = 0.5 * sum(costs[n][y[n] == 1].sum() - costs[n][found[n] == 1].sum() for n in range(N)) / N
    loss.backward()
    torch.testing.assert_close(conv.weight, weight - 0.1 * weight.grad, rtol=0, atol=1e-6)
    torch.testing.assert_close(conv.bias, bias - 0.1 * bias.grad, rtol=0, atol=1e-6)


def test_the_right_path_costs_nothing():
    x, y = maps()
    net = network(weight=1.0)
    with torch.no_grad():  # the first channel of x says whether a cell is on the path
        x[:, 0] = 20.0 * y - 10
        net.blocks[0].body.weight.zero_()[1, 0] = 1
        net.blocks[0].body.bias.zero_()
    terms = []
    net.records.append(lambda block, of, samples: terms.append(of["solved"]))
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    assert terms == [0]


def test_a_class_a_sample_learns_by_the_perceptron_of_several_classes():
    class Largest(BlackBox):
        def forward(self, x):
            return nn.functional.one_hot(x.argmax(1), x.shape[1])

    x, y = torch.randn(6, D, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    torch.manual_seed(0)
    block = ffcore.LocalBlock(
        nn.Linear(D, 3),
        "logits",
        objective={"kind": "cross-entropy", "weight": 0.0},
        penalties={"solved": StructuredPerceptron(Largest())},
    )
    net = ffcore.Network([block], "local-errors", x[:2], 3)
    weight = block.body.weight.detach().clone()
    answers = block.body(x).argmax(1)
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    for row, right, found in zip(x, y, answers, strict=True):
        weight[right] += row / 6
        weight[found] -= row / 6
    torch.testing.assert_close(block.body.weight, weight, rtol=0, atol=1e-6)


def test_several_labels_are_an_answer():
    x, y = torch.randn(6, D), torch.randint(2, (6, 4)).float()
    penalties = {"solved": StructuredPerceptron({"kind": "winner-take-all", "group": 4, "winners": 2})}
    block = ffcore.LocalBlock(
        nn.Linear(D, 4), "logits", objective="binary-cross-entropy", penalties=penalties
    )
    net = ffcore.Network([block], "local-errors", x[:2], task=MultiLabel(4))
    terms = []
    net.records.append(lambda block, of, samples: terms.append(of["solved"]))
    scores = block.body(x)
    best = torch.zeros(6, 4).scatter_(1, scores.topk(2).indices, 1)
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    torch.testing.assert_close(terms[0], ((best - y) * scores).sum() / 6)


def test_positions_without_a_target_do_not_count():
    x, y = maps()
    net = network({"kind": "cross-entropy", "weight": 0.0})
    terms = []
    net.records.append(lambda block, of, samples: terms.append(of["solved"]))
    scores = nn.functional.log_softmax(net.blocks[0].body(x), 1)[:, 1]
    wrong = torch.from_numpy(ShortestPath()(net.blocks[0].body(x).detach()))[:, 0] - y
    y[0], wrong[0] = -100, 0  # three of four maps are known
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    torch.testing.assert_close(terms[0], (wrong * scores).sum() / 3)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x > 0, r"returned \(4, 2, 3, 3\) for \(4, 2, 3, 3\); a solver returns \(4, 3, 3\)"),
        (lambda x: x[:, :1], "other values than 0 and 1"),
    ],
)
def test_an_answer_that_is_none_is_named(answer, words):
    net = network(box=answer)
    with pytest.raises(RunError, match=f"block1 solver: returned {words}" if "other" in words else words):
        net.learn(*maps(), ffcore.optimizers(net, torch.optim.SGD, lr=0.1))


def test_its_calls_are_counted():
    net = network()
    net.learn(*maps(), ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    (stage,) = net.local.boxes
    assert stage.name == "block1 solver"
    assert stage.use["learning"][:2] == (1, N)


def test_a_box_that_learns_is_refused():
    with pytest.raises(UserError, match="should be a solver, not a box that learns"):
        network(box={"kind": "quantise"})


@pytest.mark.parametrize(
    ("block", "algorithm", "words"),
    [
        ({"goodness": "logits", "objective": "cross-entropy"}, "local-errors", "it needs two classes"),
        ({"goodness": "sum-squares", "objective": "logistic"}, "forward-forward", "a goodness of classes"),
    ],
)
def test_another_task_or_goodness_is_refused(block, algorithm, words):
    penalties = {"solved": {"kind": "structured-perceptron", "box": "shortest-path"}}
    task = PixelClassification(3) if algorithm == "local-errors" else Classification(3)
    blocks = [conv(3, penalties=penalties, **block)]
    with pytest.raises(UserError, match=words):
        ffcore.Network(blocks, algorithm, maps()[0][:2], task=task)
