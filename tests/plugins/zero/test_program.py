"""A layer inside a program: what is sent, what the rule learns, programs that fail."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import RunError
from ffcore.local.callers import callers, close
from ffcore_blackbox import frames
from ffcore_zero.device import Device
from ffcore_zero.losses import Hinge
from ffcore_zero.program import Program
from ffcore_zero.rule import Directional
from ffcore_zero.simplex import Simplex

DEVICE = ["{python}", "-m", "ffcore_zero.device", "3"]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    made = Program((2, 3), 5, DEVICE)
    yield made
    made.close()


def rows(n=4):
    return torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(1))


def right(layer, x):
    device = Device(3)
    device.set(layer.weight.detach().numpy())
    return device.run(x.flatten(1).numpy())


def test_the_program_runs_the_weights_of_the_layer(layer):
    np.testing.assert_allclose(layer(rows()).numpy(), right(layer, rows()), atol=1e-6)
    with torch.no_grad():
        layer.weight += 0.5
    np.testing.assert_allclose(layer(rows()).numpy(), right(layer, rows()), atol=1e-6)
    assert layer(rows().double()).dtype == torch.float64
    assert not layer(rows()).requires_grad


def test_weights_are_sent_only_if_they_have_changed(layer, monkeypatch):
    layer(rows())
    sent = []
    ask = layer.conversation.child.ask
    monkeypatch.setattr(
        layer.conversation.child, "ask", lambda data, timeout: (sent.append(len(data)), ask(data, timeout))[1]
    )
    layer(rows())
    with torch.no_grad():
        layer.weight += 1
    layer(rows())
    batch, weights = len(frames.encoded(np.zeros((4, 6)))), len(frames.encoded(np.zeros((5, 6))))
    assert sent == [batch + len(frames.encoded(np.zeros(0))), batch + weights]


def test_it_starts_again_after_it_was_closed_and_a_copy_has_its_own(layer):
    first = layer(rows())
    layer.close()
    layer.close()
    other = copy.deepcopy(layer)
    assert torch.equal(layer(rows()), first)
    assert torch.equal(other(rows()), first)
    assert other.conversation.child is not layer.conversation.child
    other.close()


def test_the_directional_rule_learns_inside_it():
    torch.manual_seed(0)
    body = Program((12,), 20, DEVICE)
    x = torch.randn(90, 12)
    y = torch.arange(90) % 3
    x[torch.arange(90), y] += 2
    rule = Directional(epsilon=0.1, directions=8)
    block = ffcore.LocalBlock(body, Simplex(), objective=Hinge(), rule=rule)
    net = ffcore.Network([block], {"kind": "local-errors", "output": False}, example=x[:2], classes=3)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.2)
    before = float((net.predict(x) == y).float().mean())
    for _ in range(60):
        net.learn(x, y, optimizers)
    assert float((net.predict(x) == y).float().mean()) > max(0.85, before + 0.2)
    body.close()


def test_a_run_counts_the_calls_of_its_programs_and_closes_them(tmp_path):
    run = ffcore.train(
        "digits/ffzero-program", run_dir=tmp_path / "run", report=False, **{"trainer.max_epochs": 2}
    )
    names = [block.name for block in run.module.network.blocks]
    first, second = (run.results["boxes"][name]["learning"] for name in names)
    batches = first["calls"] - second["calls"]  # the second program is not called while the first one learns
    # A step has its own weights and 2 x 16 changed ones; the first were sent when the network was built.
    assert second["counts"]["sets of weights"] == 33 * batches - 1
    assert first["rows"] > second["rows"]
    assert run.results["boxes"][names[0]]["measuring"]["rows"] > 0
    assert all(block.body.conversation.child is None for block in run.module.network.blocks)


def test_programs_are_found_in_all_parts_of_a_network_and_closed():
    programs = [Program((n,), 6, DEVICE).requires_grad_(i in (1, 2)) for i, n in enumerate((12, 6, 6, 6))]
    body = nn.Sequential(programs[1], programs[2], nn.Linear(6, 6))
    net = ffcore.Network(
        [programs[0], ffcore.LocalBlock(body, "linear-head", objective="cross-entropy"), programs[3]],
        {"kind": "local-errors", "output": False},
        example=torch.randn(2, 12),
        classes=3,
    )
    found = callers(net.local)
    assert list(found.values()) == [*programs[1:3], programs[0], programs[3]]
    assert list(found)[:2] == ["block1", "block1 #2"]
    net.predict(torch.randn(2, 12))
    assert programs[0].conversation.child is not None
    close(net.local)
    assert all(program.conversation.child is None for program in programs)


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        ("import sys; sys.exit(3)", "ended with code 3|before it had read"),
        ("print('hello', flush=True)", "instead of a frame"),
        (
            "import sys; from ffcore_zero import device as d; d.Device.run = lambda s, r: r[:2]; d.main()",
            r"answered \(2, 6\), not \(4, 5\)",
        ),
    ],
)
def test_a_program_that_fails_is_named(program, complaint):
    layer = Program((6,), 5, [sys.executable, "-c", program])
    with pytest.raises(RunError, match=complaint):
        layer(rows().flatten(1))
    layer.close()


def test_a_command_is_needed():
    with pytest.raises(ValueError, match="command: is empty"):
        Program((6,), 5, [])
