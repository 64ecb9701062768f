"""Functions that the ranks of the pool run; tests also run them in one process and compare."""

import os
import signal
import warnings
from pathlib import Path
from unittest import mock

import lightning as L
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import ffcore
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.interfaces import ALONE, Goodness, Idle, shared_by
from ffcore.local.batch_norm import synchronise
from ffcore.ranks.drift import Drift
from ffcore.ranks.grid import GridStrategy
from ffcore.ranks.group import Group
from ffcore.ranks.local import LocalDDP
from ffcore.ranks.pipeline import PipelineStrategy
from ffcore.ranks.vote import Vote
from ffcore.recipe.load import load
from ffcore.run import train
from ffcore.run.data import Data
from ffcore.run.resume import resume
from ffcore.run.trainer import apart
from ffcore_std.bodies import Dense


class Among(Goodness):
    """Energy of a row beside its products with all rows of the batch: G_r = h_r² − (Σ_s h_r·h_s)/(2R)."""

    reads_views = couples_samples = True

    def forward(self, activity, views=None):
        products = activity @ activity.T
        return products.diagonal() - products.mean(1) / 2


class Branch(torch.nn.Module):
    """ReLU(A x + B x for rows above a threshold): without such a row B has no gradient."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__()
        sizes = in_shape[0] * in_shape[1] * in_shape[2], 20
        self.always, self.sometimes = torch.nn.Linear(*sizes), torch.nn.Linear(*sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(1)
        y, large = self.always(rows), rows.mean(1, keepdim=True) > 0.37
        if large.any():
            y = y + self.sometimes(rows) * large
        return y.relu()


OURS = "ffcore.tests"
"""Module of callbacks that read no weights of other ranks: with others every rank holds all blocks."""


class Reads(L.Callback):
    """Reads all weights after each validation."""

    def on_validation_end(self, trainer, pl_module):
        """Sum them."""
        assert sum(float(p.sum()) for p in pl_module.parameters()) != 0


def group():
    return Group() if dist.is_initialized() else ALONE


def plain_trainer(**options):
    """Returns a trainer of Lightning's for all ranks, on CPUs, that writes and prints nothing."""
    return L.Trainer(
        accelerator="cpu",
        devices=group().world,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **options},
    )


def fit(recipe, overrides, steps=20, pipeline=None, before=lambda module: None, callbacks=()):
    """Returns a module that has learned ``steps`` steps of a recipe, without a run directory.

    ``pipeline`` has options of the pipeline; with ``stages`` it is a grid.
    """
    recipe = load(recipe, overrides)
    data = Data.open(recipe)
    module = assembled_for(recipe, Form.of(data.images), data.statistics())
    if recipe.trainer.precision == "64-true":
        module.double()
    before(module)
    ranks = group()
    strategy, share = "auto", (0, 1)
    if ranks.world > 1:
        batch, stages = recipe.data.batch_size, (pipeline or {}).get("stages", 0)
        if pipeline is None:
            strategy, share = LocalDDP(), (ranks.rank, ranks.world)
        elif stages:
            strategy = GridStrategy(batch=batch, **pipeline)
            share = ranks.rank // stages, ranks.world // stages
        else:  # in a pipeline every rank has the complete batch
            strategy = PipelineStrategy(batch, **pipeline)
    with warnings.catch_warnings(), apart(1):
        warnings.simplefilter("ignore")
        trainer = plain_trainer(
            strategy=strategy,
            precision=recipe.trainer.precision,
            max_steps=steps,
            max_epochs=-1,
            inference_mode=False,
            callbacks=list(callbacks),
        )
        loader = data.loader(data.train, "cpu", lambda: trainer.current_epoch, *share)
        trainer.fit(module, loader)
    return module


def learned(recipe, overrides, steps=20, pipeline=None):
    """Returns its parameters and buffers."""
    module = fit(recipe, overrides, steps, pipeline)
    module.distribution.settle(module)
    return {name: p.detach().clone() for name, p in (*module.named_parameters(), *module.named_buffers())}


def sums():
    """Run every collective operation once."""
    ranks = group()
    own = torch.full((3 - 2 * ranks.rank, 2), float(ranks.rank), requires_grad=True)
    rows = ranks.rows(own)
    # the gradient of row i is i: it shows which rows of the result are those of this rank
    (rows * torch.arange(len(rows)).unsqueeze(1)).sum().backward()
    return {
        "sum": ranks.sum(torch.tensor([1.0, ranks.rank])),
        "begun": ranks.begin_sum(torch.tensor([ranks.rank + 1]))(),
        "rows": rows.detach(),
        "gradient": own.grad,
        "objects": ranks.objects({"rank": ranks.rank}),
    }


def traffic(recipe, overrides, steps):
    """Returns the number of bytes of each sum over ranks, and the bytes of the parameters."""
    seen = []

    class Counting(Group):
        def begin_sum(self, *parts):
            seen.append(sum(t.numel() * t.element_size() for t in parts))
            return super().begin_sum(*parts)

    def count(module):
        make = module.configure_optimizers

        def counted():
            # after the strategy has set the distribution, before the block optimisers refer to it
            module.distribution.learning = Counting()
            return make()

        module.configure_optimizers = counted

    module = fit(recipe, overrides, steps, before=count)
    trainable = [sum(p.numel() * p.element_size() for p in b.trainable) for b in module.network.blocks]
    return {"bytes": seen, "trainable": trainable}


def drifted(overrides):
    """Train, and change one parameter of one block on the second rank after two steps."""

    class Touch(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == 2 and group().rank == 1:
                with torch.no_grad():
                    # a difference in the last bits
                    next(pl_module.network.blocks[1].parameters()).view(-1)[3] += 1e-7

    fit("digits/ff", overrides, 20, callbacks=[Touch(), Drift(5)])


def voted(wishes):
    """Returns for a number of steps the results of the votes on this rank."""
    vote = Vote(group())
    heard = {}
    for step in range(1, 41):
        agreed = vote.at(step, [step >= wish for wish in wishes])
        if agreed is not None:
            heard[step] = agreed
    return heard


def whole(recipe, run_dir, overrides, press=None, versions=None):
    """Run without a report; Ctrl-C on the last rank after ``press`` steps. Returns how the run ended.

    ``versions`` are those of the software, in place of the true ones.
    """

    class Press(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if trainer.global_step == press and group().rank == group().world - 1:
                os.kill(os.getpid(), signal.SIGINT)

    Press.__module__ = OURS
    try:
        of_rank = {**train.environment.versions(), **(versions or {})}
        with (
            mock.patch.object(train, "write_report"),
            mock.patch.object(train.environment, "versions", return_value=of_rank),
        ):
            if (Path(run_dir) / "config.yaml").exists():
                resume(Path(run_dir), overrides=overrides)
            else:
                train.train(load(recipe, overrides), Path(run_dir), callbacks=[Press()])
    except KeyboardInterrupt as stopped:
        return str(stopped)
    return "finished"


class OwnForward(nn.BatchNorm2d):
    """A batch norm as image libraries have it: with an activation, by torch's function."""

    def forward(self, x):
        y = nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, 0.2, self.eps
        )
        return y.relu()


def normed(kind, shape, sizes, options, calls=2, evaluates=False, together=True, dtype=torch.float64):
    """Returns what a batch norm computes of shares of a batch, summed over ranks as block optimisers do.

    Args:
        kind: a class of torch.nn, or of this file.
        shape: of one sample.
        sizes: samples of each rank; a rank without any runs a placeholder batch.
        options: of the norm.
        calls: forward passes before the backward pass, each of other samples.
        evaluates: whether the backward pass is in evaluation mode.
        together: whether the norms use the global batch.
        dtype: of samples and weights.
    """
    ranks = group()
    ranks.batch_norm = together
    torch.manual_seed(0)
    norm = (globals().get(kind) or getattr(nn, kind))(shape[0], **options).to(dtype)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    model = nn.Sequential(nn.Identity(), norm)
    synchronise(model)
    whole = 3 * torch.randn(calls, sum(sizes), *shape, dtype=dtype) + 7
    first = sum(sizes[: ranks.rank])
    count = sizes[ranks.rank] if ranks.world > 1 else sum(sizes)
    own = whole[:, first : first + max(1, count)].clone().requires_grad_()
    seen = ranks if count else Idle(ranks)
    with shared_by(seen):
        made = [model(x) for x in own]
        if evaluates:
            made = [model.eval()(x) for x in own]
        # the loss of a rank is a mean over its samples
        sum((y.sin() * y).flatten(1).sum(1).mean() for y in made).backward()
    share = count / sum(sizes)
    return {
        "y": torch.stack([seen.rows(y.detach()) for y in made]),
        "x": torch.stack([seen.rows(x * share) for x in own.grad]),
        **{name: ranks.sum(p.grad * share) for name, p in norm.named_parameters()},
        **{name: b.clone() for name, b in norm.named_buffers()},
    }


def shards_a_whole_block():
    """Returns the errors of optimisers for blocks that `fully_shard` got as a whole."""
    mesh, x, messages = init_device_mesh("cpu", (group().world,)), torch.rand(2, 4), []
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3))
    head = {"head": "1", "algorithm": "forward-forward", "goodness": "sum-squares", "objective": "logistic"}
    localized = ffcore.localize(model, "0", example=x, classes=3, **head)
    fully_shard(model[0], mesh=mesh)
    whole = ffcore.LocalBlock(nn.Linear(4, 3), "linear-head", objective="cross-entropy")
    of_blocks = ffcore.Network([whole], "local-errors", example=x, classes=3)
    fully_shard(whole, mesh=mesh)
    for net in (localized, of_blocks):
        try:
            ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        except ffcore.errors.UserError as error:
            messages.append(str(error))
    return messages


def refused():
    """Returns the error of a global batch of one row."""
    try:
        normed("BatchNorm1d", (4,), [0, 1], {})
    except ValueError as error:
        return str(error)
    return "none"


class _Convolutions(nn.Module):
    """A model whose norms are inside of blocks, between them, and in the head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Tanh())
        self.norm = nn.BatchNorm2d(8, affine=False, momentum=None)
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3), OwnForward(8))
        self.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 10))

    def forward(self, x):
        return self.head(self.second(self.norm(self.first(x))))


def localized(compiled=False, steps=5):
    """Returns parameters and buffers of a model of a user; one of two blocks may be compiled."""
    ranks = group()
    torch.manual_seed(0)
    data = Data.open(load("digits/ff", ["data.batch_size=33"]))
    net = ffcore.localize(
        _Convolutions(),
        ["first", "second"],
        head="head",
        example=torch.rand(2, 1, 8, 8),
        classes=10,
        algorithm="forward-forward",
        goodness="sum-squares",
        objective="logistic",
    )
    if compiled:
        net.blocks[0].compile(backend="eager")
    module = ffcore.ForwardOnly(net, torch.optim.SGD, lr=0.01)
    with warnings.catch_warnings(), apart(1):
        warnings.simplefilter("ignore")
        trainer = plain_trainer(
            strategy=LocalDDP() if ranks.world > 1 else "auto",
            sync_batchnorm=ranks.world > 1,
            max_steps=steps,
            max_epochs=-1,
            inference_mode=False,
        )
        share = ranks.rank, ranks.world
        trainer.fit(module, data.loader(data.train, "cpu", lambda: trainer.current_epoch, *share))
    assert not any("forward" in vars(part) for part in net.modules() if isinstance(part, nn.BatchNorm2d))
    return net.state_dict()


def sharded(steps=20, clip=0.5, shards=True, optimizer="SGD", lr=0.05, closed=False):
    """Returns losses, weights and predictions of a network in plain torch whose blocks are sharded.

    With one process, or without ``shards``, every rank has the complete batch and all weights.
    """
    ranks = group()
    torch.manual_seed(0)
    x, y = torch.randn(16, 12), torch.arange(16) % 3

    def block(inputs):
        if closed:
            return ffcore.LocalBlock(Dense((inputs,), 6), "linear-head", objective="cross-entropy")
        layers = nn.Sequential(nn.Linear(inputs, 10), nn.Tanh(), nn.Linear(10, 6), nn.Tanh())
        return ffcore.LocalBlock(layers, "linear-head", objective="cross-entropy")

    net = ffcore.Network([block(12), block(6)], algorithm="local-errors", example=x[:2], classes=3).double()
    if shards and ranks.world > 1:
        mesh = init_device_mesh("cpu", (ranks.world,))
        for each in net.blocks:
            for part in (*([] if closed else (each.body[0], each.body[2])), each.body, each.goodness):
                fully_shard(part, mesh=mesh)
        x, y = x.chunk(ranks.world)[ranks.rank], y.chunk(ranks.world)[ranks.rank]
    optimizers = ffcore.optimizers(net, getattr(torch.optim, optimizer), lr=lr, clip=clip)
    for _ in range(steps):
        losses = net.learn(x.double(), y, optimizers)
    whole = {name: t.full_tensor() if hasattr(t, "full_tensor") else t for name, t in net.named_parameters()}
    held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in net.parameters())
    return {
        "weights": {name: t.detach().clone() for name, t in whole.items()},
        "held": held,
        "losses": losses,
        "scores": net.scores(x.double()),
    }
