"""Calls of black boxes that overlap with learning."""

import copy
from contextlib import suppress
from threading import Event

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import RunError, UserError
from ffcore.local import BoxStage, LocalBlock

D, K, N = 6, 3, 8


def block(units=D, dropout=0.3):
    body = nn.Sequential(nn.Linear(D, units), nn.ReLU(), nn.Dropout(dropout))
    return LocalBlock(body, "linear-head", objective="cross-entropy")


def network(overlap, boxes=2, box=torch.sign, **options):
    torch.manual_seed(0)
    stages = [block()]
    for i in range(boxes):
        stages += [BoxStage(box, f"box{i}", overlap=overlap), block()]
    return ffcore.Network(
        stages, "local-errors", torch.zeros(2, D), K, contribution="last", seed=1, **options
    )


def batches(count=7):
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(N, D, generator=generator), torch.randint(K, (N,), generator=generator))
        for _ in range(count)
    ]


def learned(net, given, **options):
    """Learn with a rate that changes with every batch, and dropout that depends on the batch."""
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2, **options)
    for i, (x, y) in enumerate(given):
        torch.manual_seed(i)
        net.learn(x, y, optimizers)
        for group in optimizers.param_groups:
            group["lr"] *= 0.8
    return net


def same(one, other):
    states = one.state_dict(), other.state_dict()
    for name in states[0]:
        if isinstance(states[0][name], torch.Tensor):
            torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("boxes", [1, 2, 3])
def test_weights_are_those_without_overlap(boxes):
    plain = learned(network(False, boxes), batches())
    before = {name: p.clone() for name, p in network(False, boxes).state_dict().items() if "bias" in name}
    same(learned(network(True, boxes), batches()), plain)
    assert all((plain.state_dict()[name] != p).any() for name, p in before.items())


def test_a_prediction_uses_every_batch_learned():
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(9))
    plain, late = (learned(network(overlap), batches()).scores(x) for overlap in (False, True))
    torch.testing.assert_close(late, plain, rtol=0, atol=0)


def test_a_pass_that_waits_learns_in_the_mode_of_its_batch():
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(9))
    nets = [learned(network(overlap), batches()) for overlap in (False, True)]
    for net in nets:
        net.eval()
        net.scores(x)
    same(*nets)


def test_loading_a_state_does_not_mix_with_passes_that_wait():
    net = network(True)
    first = copy.deepcopy(net.state_dict())
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
    for x, y in batches(3):
        net.learn(x, y, optimizers)
    net.load_state_dict(first)
    same(net, network(False))


def test_the_state_of_the_optimisers_has_every_batch():
    states = []
    for overlap in (False, True):
        net = network(overlap)
        optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
        for i, (x, y) in enumerate(batches(3)):
            torch.manual_seed(i)
            net.learn(x, y, optimizers)
        states.append(optimizers.state_dict()["blocks"])  # before the network's own
    for name, state in states[0].items():
        assert states[1][name]["state"][0]["step"] == state["state"][0]["step"] == 3


@pytest.mark.parametrize("change", ["momentum", "weight_decay"])
def test_options_of_the_optimiser_are_those_of_the_batch(change):
    nets = []
    for overlap in (False, True):
        net = network(overlap)
        optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1, momentum=0.5, weight_decay=0.1)
        for i, (x, y) in enumerate(batches()):
            torch.manual_seed(i)
            net.learn(x, y, optimizers)
            for group in optimizers.param_groups:
                group[change] *= 0.7
        nets.append(net)
    same(*nets)


def test_plain_layers_of_a_window_keep_their_graph_in_a_late_pass():
    def make(overlap):
        torch.manual_seed(0)
        stages = [
            LocalBlock(nn.Linear(D, D)),
            block(),
            BoxStage(torch.sign, "box", overlap=overlap),
            LocalBlock(nn.Linear(D, D)),
            nn.Linear(D, D),
            block(),
        ]
        windows = {"kind": "windows", "size": 2}
        return ffcore.Network(stages, "local-errors", torch.zeros(2, D), K, schedule=windows)

    with pytest.warns(UserWarning, match="not in any block"):
        nets = [make(overlap) for overlap in (False, True)]
    for net in nets:
        learned(net, batches())
        with torch.no_grad():
            net.scores(batches(1)[0][0])
    same(*nets)


def test_mixed_precision_is_that_of_the_batch():
    nets = [network(overlap) for overlap in (False, True)]
    for net in nets:
        net.autocast = torch.bfloat16
        learned(net, batches())
        net.end_epoch()
    same(*nets)


def test_a_network_may_be_moved_between_batches():
    nets = [network(overlap) for overlap in (False, True)]
    for net in nets:
        optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        for i, (x, y) in enumerate(batches(4)):
            torch.manual_seed(i)
            if i == 2:
                net.double()
            net.learn(x.double() if i > 1 else x, y, optimizers)
    same(*nets)


def test_after_an_error_the_blocks_still_see_the_batches_in_order():
    calls, seen = [], {"block2": [], "block3": []}

    def fails_once(x):
        calls.append(1)
        if len(calls) == 4:
            raise ValueError("no paper")
        return x

    torch.manual_seed(0)
    stages = [block(), BoxStage(fails_once, "one", overlap=True), block()]
    stages += [BoxStage(torch.sign, "two", overlap=True), block()]
    net = ffcore.Network(stages, "local-errors", torch.zeros(2, D), K, contribution="last")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    given = batches(6)

    def note(block, terms, samples):
        if block.name in seen:
            seen[block.name].append(samples)

    net.records.append(note)
    for number, (x, y) in enumerate(given, 1):
        with suppress(RunError):
            net.learn(x[:number], y[:number], optimizers)
    net.local.settle()
    assert seen == {"block2": [1, 2, 4, 5, 6], "block3": [1, 2, 4, 5, 6]}


def test_a_copy_holds_every_batch_learned():
    late = learned(network(True), batches())
    same(copy.deepcopy(late), learned(network(False), batches()))


def test_the_box_answers_while_the_blocks_after_it_learn():
    steps, answers = Event(), []

    def waits(x):
        if len(answers) > 1:  # after the dry run and the first batch
            assert steps.wait(20), "the block after the box does not learn meanwhile"
        steps.clear()
        answers.append(x)
        return x

    net = network(True, boxes=1, box=waits)
    net.records.append(lambda block, terms, samples: steps.set() if block.name == "block2" else None)
    learned(net, batches(4)).local.settle()
    assert len(answers) == 1 + 4


def test_learn_returns_the_losses_of_the_batch_before_after_the_box():
    plain, late = network(False, 1), network(True, 1)
    seen = []
    for net in (plain, late):
        optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
        seen.append([])
        for i, (x, y) in enumerate(batches(3)):
            torch.manual_seed(i)
            seen[-1].append(net.learn(x, y, optimizers))
    assert [set(each) for each in seen[1]] == [{"block1"}, {"block1", "block2"}, {"block1", "block2"}]
    assert seen[1][2]["block2"] == seen[0][1]["block2"]
    assert seen[1][2]["block1"] == seen[0][2]["block1"]


def test_an_error_of_the_box_names_it():
    calls = []

    def fails(x):
        calls.append(1)
        if len(calls) > 4:
            raise ValueError("no paper")
        return x

    net = network(True, 1, fails)
    with pytest.raises(RunError, match="box0: its forward raised ValueError: no paper"):
        learned(net, batches()).state_dict()


def test_blocks_on_both_sides_may_not_learn_together():
    net = network(True, 1, schedule={"kind": "windows", "size": 2})
    with pytest.raises(UserError, match="box0: overlap: blocks before and after the box learn together"):
        learned(net, batches(1))


def test_accumulated_batches_are_refused():
    with pytest.raises(UserError, match="box0: overlap: does not work with accumulated batches"):
        learned(network(True, 1), batches(1), accumulate=2)


def test_a_box_inside_another_module_is_refused():
    inner = nn.Sequential(BoxStage(torch.sign, "box", overlap=True))
    with pytest.raises(UserError, match="box: overlap: the box is inside another module"):
        ffcore.Network([block(), inner, block()], "local-errors", torch.zeros(2, D), K)
