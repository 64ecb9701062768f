"""Private parts of torch and Lightning: each test fails when a release takes one away."""

import ast
from pathlib import Path

import lightning
import pytest
import torch
from torch import nn

from ffcore import private
from ffcore.interfaces import LabelledInput

ROOT = Path(__file__).parents[1]
THEIRS = {
    *("_version", "_forward_hooks", "_forward_pre_hooks", "_optimizer_step_pre_hooks", "_C"),
    *("_current_fx_name", "_broadcast_sigterm_tensor", "_make_wrapper_subclass", "_opt_called"),
}


def test_only_one_file_names_private_parts_of_others():
    for path in [*(ROOT / "ffcore").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        if path.name == "private.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = node.attr if isinstance(node, ast.Attribute) else getattr(node, "value", None)
            assert named not in THEIRS, f"{path}:{node.lineno} {named}"


def test_a_change_in_place_moves_the_version():
    t = torch.zeros(2)
    before = private.version(t)
    t.add_(1)
    assert private.version(t) > before


def test_schedulers_do_not_ask_for_the_step_of_an_optimiser_that_counts_as_stepped():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=1.0)
    private.count_as_stepped(optimizer)
    torch.optim.lr_scheduler.StepLR(optimizer, 1).step()  # a warning is an error


def test_hooks_of_a_module_are_seen():
    linear = nn.Linear(2, 2)
    assert not private.has_hooks(linear)
    handle = linear.register_forward_hook(lambda *_: None)
    assert private.has_hooks(linear)
    handle.remove()
    linear.register_forward_pre_hook(lambda *_: None)
    assert private.has_hooks(linear)


def test_operations_of_a_wrapper_arrive_below_autograd():
    x = LabelledInput(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0]]))
    linear = nn.Linear(2, 1, bias=False)
    linear(x).sum().backward()
    assert linear.weight.grad.tolist() == [[3.0, 2.0]]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_step_alone_skips_the_wrapping_and_makes_the_same_step(kind, monkeypatch):
    weights = []
    for step in (private.step_alone, lambda o: o.step()):
        weight = nn.Parameter(torch.ones(3))
        optimizer = kind([weight], lr=0.1)
        weight.grad = torch.arange(3.0)
        step(optimizer)
        weights.append(weight.detach())
    assert torch.equal(*weights)
    monkeypatch.setattr(torch.profiler, "record_function", lambda *_: pytest.fail("the wrapping has run"))
    monkeypatch.setattr(
        torch.autograd.profiler, "record_function", lambda *_: pytest.fail("the wrapping has run")
    )
    private.step_alone(optimizer)


def test_an_unwrapped_step_stays_as_it_is():
    class Marks(torch.optim.Optimizer):
        @private.unwrapped
        def step(self, closure=None):
            return "plain"

    before = vars(Marks)["step"]
    Marks([nn.Parameter(torch.ones(1))], {})
    assert vars(Marks)["step"] is before


def test_lightning_names_the_hook_that_runs_and_broadcasts_a_stop_flag():
    module = lightning.LightningModule()
    assert private.HOOK_NAME in vars(module)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    private.leave_stop_flag_alone(trainer)
    assert getattr(trainer.fit_loop.epoch_loop, private.STOP_FLAG)() is None
    with pytest.raises(RuntimeError, match=r"needs 2\.6"):
        private.leave_stop_flag_alone(
            type("Other", (), {"fit_loop": type("Loop", (), {"epoch_loop": object()})})()
        )


def test_fake_inputs_have_a_symbol_for_the_batch() -> None:
    mode, (x, w) = private.fake_inputs([torch.ones(3, 2), torch.ones(3, 2)], [True, False])
    assert not isinstance(x.shape[0], int)
    assert w.shape == (3, 2)
    with mode:
        private.same_size(x, x * 2)
        assert (x @ w.T).shape[1] == 3


def test_decompositions_are_functions_by_operation() -> None:
    found = private.decompositions(torch.ops.aten.native_layer_norm_backward)
    assert all(callable(function) for function in found.values())
    assert torch.ops.aten.native_layer_norm_backward.default in found


def test_a_dispatch_mode_sees_every_operation() -> None:
    seen = []

    class Noting(private.DispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Noting():
        torch.ones(2) + 1
    assert torch.ops.aten.add.Tensor in seen


def test_attention_on_a_cpu_is_these_operations() -> None:
    q = torch.rand(2, 1, 3, 4, requires_grad=True)
    seen = []

    class See(private.DispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.append(function.overloadpacket)
            return function(*args, **(kwargs or {}))

    with See():
        nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()
    assert set(private.attention_on_a_cpu()) <= set(seen)
