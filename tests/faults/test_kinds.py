"""Faults by kind: one line names the cause; exit code 2 before anything is written, 1 afterwards."""

import math
import os
import sys
import time
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore import reading
from ffcore.build import names
from ffcore.cli.main import main
from ffcore.data.arrays import InMemory
from ffcore.errors import RunError, UserError
from ffcore.interfaces import Circuit, Goodness, Items, LayerContribution
from ffcore.local.given import formats_named

SMALL = {"trainer": {"max_epochs": 1, "threads": 1}, "network": [{"kind": "dense", "units": 9}] * 2}


def train(**parts):
    return ffcore.train("digits/ff", report=False, run_dir="run", **{**SMALL, **parts})


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(match, **parts):
    """Check that a training is refused with one line before anything is written."""
    with pytest.raises(UserError, match=match) as caught:
        train(**parts)
    assert "\n" not in str(caught.value)
    assert not list(Path.cwd().iterdir())


# -- results of components ------------------------------------------------------------------------------


class Handoff(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, h):
        return self.change(h)


@pytest.mark.parametrize(
    ("change", "given"),
    [
        (lambda h: h.double(), "float64"),
        (lambda h: h.to(torch.complex64), "complex64"),
        (lambda h: h[:, :0], r"\(2, 0\)"),
        (lambda h: h.to("meta"), "on the device meta"),
    ],
)
def test_a_handoff_that_no_block_can_follow_is_refused_at_its_own_block(change, given):
    refused(
        f"^network.0: block dense1: forward of Handoff returned .*{given}", block={"handoff": Handoff(change)}
    )


class Squares(Goodness):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, activity):
        return self.change(activity.pow(2).flatten(1).sum(1))


def test_a_complex_goodness_is_refused():
    refused(
        "forward of Squares returned .*complex64",
        block={"goodness": Squares(lambda g: g.to(torch.complex64))},
    )


def test_a_loss_without_a_gradient_names_the_part_that_has_no_graph():
    with pytest.raises(
        RunError, match=r"no gradient leads .* the goodness that Squares returned has no graph"
    ):
        train(block={"goodness": Squares(torch.detach)})


def test_a_loss_that_is_nan_at_the_first_step_does_not_blame_the_learning_rate():
    with pytest.raises(RunError, match=r"non-finite at step 1, the first: .*block.goodness") as caught:
        train(block={"goodness": Squares(lambda g: (-1 - g).sqrt())})
    assert "diverged" not in str(caught.value)


class Best(LayerContribution):
    def __init__(self, change=lambda scores: scores, needs=frozenset()):
        super().__init__()
        self.change, self.needs = change, needs

    def combine(self, scores):
        return self.change(scores.sum(0))


def test_scores_that_are_nan_name_the_contribution():
    with pytest.raises(RunError, match=r"are NaN, .* combine of the contribution"):
        train(contribution=Best(lambda scores: scores * math.nan))


@pytest.mark.parametrize("needs", ["val.scores", {"val.acuracy"}, None])
def test_needs_of_a_contribution_are_a_set_of_known_values(needs):
    refused("^contribution: needs of Best has .*val.scores", contribution=Best(needs=needs))


class Own(Items):
    def items(self):
        return [{"kind": Own()}]


def test_items_that_contain_themselves_name_their_path():
    refused("^network.0: items of .*its own item", network=[{"kind": Own()}])


class Scalar(Circuit):
    calls, reads = 1, range(1)

    def setup(self, context):
        self.a = context.block("a", nn.Sequential(nn.Flatten(), nn.Linear(math.prod(context.shape), 5)))

    def forward(self, x, views):
        return self.a(x).sum()


def test_a_circuit_without_a_row_for_each_input_names_its_path():
    more = {"algorithm": {"labels": None}, "block": {"handoff": None}, "contribution": "sum"}
    refused(r"^network.0: it returns a tensor \(\)", network=[{"kind": Scalar()}], **more)


async def wait(x):
    return x


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (wait, "a coroutine"),
        (lambda x: x[:, :0], "rows without values"),
        (lambda x: x.to("meta"), "device meta"),
    ],
)
def test_a_box_without_values_names_itself(function, given):
    box = {"kind": "blackbox", "box": {"kind": "function", "target": function}}
    refused(f"^blackbox1, network.1.box.*{given}", network=[SMALL["network"][0], box, SMALL["network"][0]])


def test_an_end_of_file_error_is_not_an_interruption(capsys):
    Path("mine.py").write_text(
        "from torch import nn\nfrom ffcore.plugin import hookimpl\n"
        "class Reads(nn.Module):\n    def forward(self, x): raise EOFError\n"
        "@hookimpl\ndef ffcore_register(registry): registry.body('reads', Reads)\n"
    )
    assert main(["--plugin", "mine.py", "run", "digits/ff", "network=[{kind: reads}]"]) == 2
    assert "body 'reads' of plugin 'mine'" in capsys.readouterr().err


def test_an_empty_body_is_refused():
    refused("^network.1: Sequential is empty", network=[SMALL["network"][0], {"kind": nn.Sequential()}])
    with pytest.raises(UserError, match=r"^body: Sequential is empty"):
        ffcore.LocalBlock(nn.Sequential(), goodness="sum-squares")


@pytest.mark.parametrize("value", [1.0, "1.0", "1e0"])
def test_a_validation_split_of_all_samples_is_refused(value):
    refused(
        "^data.validation: .*should be a fraction of the training set below 1", **{"data.validation": value}
    )


# -- callbacks ------------------------------------------------------------------------------------------


class Short(lightning.Callback):
    def on_train_batch_end(self):
        pass


class Keyed(lightning.Callback):
    state_key = 7


@pytest.mark.parametrize(
    ("callback", "match"),
    [
        (
            Short(),
            r"Short.on_train_batch_end does not take .*write on_train_batch_end\(self, trainer, .*\.py:\d+",
        ),
        (Keyed(), "the state_key of Keyed is 7; it should be a string"),
    ],
)
def test_a_callback_that_lightning_cannot_call_is_refused(callback, match):
    refused(rf"^callbacks\[0\]: {match}", callbacks=[callback])


def test_a_callback_object_in_the_recipe_points_to_the_argument():
    refused(r"^trainer.callbacks.0: .*not a Short; .* callbacks=\[", trainer={"callbacks": [Short()]})


class WithoutIndex(lightning.Callback):
    """Lightning passes dataloader_idx only if there are several loaders."""

    calls = 0

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.calls += 1


class AnyArguments(lightning.Callback):
    calls = 0

    def on_train_batch_end(self, *args, **kwargs):
        self.calls += 1

    def on_validation_batch_end(self, *args):
        self.calls += 1


def test_hooks_that_lightning_can_call_run():
    own = [WithoutIndex(), AnyArguments()]
    shipped = [
        lightning.pytorch.callbacks.ModelSummary(),
        lightning.pytorch.callbacks.LambdaCallback(on_validation_batch_end=lambda *args: None),
    ]
    train(callbacks=[*own, *shipped])
    assert all(each.calls for each in own)


def test_the_proposed_signature_has_lightnings_defaults():
    class Few(lightning.Callback):
        def on_validation_batch_end(self, trainer):
            pass

    refused(r"write on_validation_batch_end\(self, .*batch_idx, dataloader_idx=0\)", callbacks=[Few()])


# -- data, files and names ------------------------------------------------------------------------------


def test_a_class_that_only_the_test_samples_have_is_refused():
    x, y = np.zeros((8, 3)), np.arange(8) % 2
    with pytest.raises(UserError, match="label of the other splits is 2, but those of y_train are 0 to 1"):
        InMemory(x, y, x, y + 1).load()


def test_a_name_that_an_older_run_has_is_accepted_there():
    with pytest.raises(UserError, match="'val' is reserved"):
        names.refuse_reserved("val", "network.0.name")
    with names.of_existing_run():
        names.refuse_reserved("val", "network.0.name")
    names.refuse_reserved("values", "network.0.name")
    with pytest.raises(UserError, match="'values' is reserved"):
        names.refuse_reserved("values", "readouts.values", block=False)


@pytest.mark.parametrize(
    ("line", "file"),
    [("0::/job/step", "job/memory.max"), ("4:memory:/job", "memory/job/memory.limit_in_bytes")],
)
def test_the_memory_limit_of_a_control_group_is_read(tmp_path, line, file):
    (tmp_path / "cgroup").write_text(f"9:name=systemd:/\n{line}\n")
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("1048576\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert list(reading._limits(tmp_path / "cgroup", tmp_path)) == [2**20]


def test_a_resumed_run_names_the_plugin_that_it_needs(capsys):
    Path("mine.py").write_text(
        "from ffcore_ff.goodness import SumSquares\nfrom ffcore.plugin import hookimpl\n"
        "@hookimpl\ndef ffcore_register(registry): registry.goodness('mine', SumSquares)\n"
    )
    words = [
        "trainer.max_epochs=1",
        "trainer.threads=1",
        "network=[{kind: dense, units: 9}]",
        "block.goodness=mine",
    ]
    assert main(["--plugin", "mine.py", "run", "digits/ff", *words, "--run-dir", "run", "--no-report"]) == 0
    Path("run/results.json").unlink()
    ffcore.plugin.manager.use(None)
    capsys.readouterr()
    assert main(["run", "--resume", "run"]) == 2
    assert (
        "it used the plugin file mine.py, which is not loaded; give `ffcore --plugin mine.py"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("damage", ["missing", "text"])
def test_a_checkpoint_without_a_state_leaves_the_run_unchanged(damage, capsys):
    train()
    Path("run/results.json").unlink()
    path = Path("run/checkpoints/last.ckpt")
    state = torch.load(path, weights_only=True)
    state.pop("loops") if damage == "missing" else state.update(loops="x")
    torch.save(state, path)
    before = {each: os.stat(each).st_mtime_ns for each in Path("run").rglob("*")}
    time.sleep(0.01)
    assert main(["run", "--resume", "run"]) == 2
    assert "last.ckpt: the run cannot be resumed from this checkpoint: loops is" in capsys.readouterr().err
    assert {each: os.stat(each).st_mtime_ns for each in Path("run").rglob("*")} == before


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID"])
def test_a_rank_that_is_not_an_integer_is_named(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "abc")
    assert main(["run", "digits/ff"]) == 2
    assert f"{name}: 'abc' should be an integer" in capsys.readouterr().err


def test_text_that_is_not_utf_8_is_named_with_its_option(capsys):
    assert main(["--plugin", "\udce4.py", "ls"]) == 2
    assert r"error: --plugin: '\udce4.py' is not UTF-8" in capsys.readouterr().err


def test_a_number_of_jobs_has_a_limit(capsys):
    assert main(["run", "digits/ff", "--seeds", "1,2", "--jobs", str(sys.maxsize)]) == 2
    assert "'--jobs'" in capsys.readouterr().err


# -- arguments from Python ------------------------------------------------------------------------------


def parts(**more):
    block = ffcore.LocalBlock(nn.Linear(20, 8), goodness="sum-squares", **{"objective": "logistic", **more})
    return ffcore.Network([block], "forward-forward", torch.rand(2, 20), 3)


def test_a_network_without_an_objective_is_refused():
    with pytest.raises(UserError, match=r"nothing to learn from: block block1 has no objective"):
        parts(objective=None)


@pytest.mark.parametrize(
    ("x", "given"),
    [
        (torch.ones(3, 20).double(), "torch.float64, weights torch.float32"),
        (torch.ones(3, 20).to("meta"), "meta, weights cpu"),
    ],
)
def test_samples_of_another_dtype_or_device_are_named(x, given):
    net = parts()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    with pytest.raises(UserError, match=f"^x: samples are {given}; convert"):
        net.learn(x, torch.arange(3), optimizers)


@pytest.mark.parametrize(
    ("error", "dtype"),
    [
        (RuntimeError("of the model"), torch.int64),
        (RuntimeError("of the model"), torch.uint8),
        (torch.OutOfMemoryError("of the model"), torch.float64),
    ],
)
def test_other_errors_of_a_model_are_not_changed(error, dtype):
    net = parts()
    with (
        pytest.raises(RuntimeError, match="of the model") as caught,
        formats_named(torch.ones(3, 20, dtype=dtype), net.local),
    ):
        raise error
    assert type(caught.value) is type(error)


def test_networks_built_at_the_same_time_have_the_weights_of_their_seed():
    from concurrent.futures import ThreadPoolExecutor

    def weights(seed):
        return ffcore.from_recipe("digits/ff", shape=(64,), classes=10, seed=1).local.state_dict()

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(weights, range(12))
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=0)
