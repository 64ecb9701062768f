"""Functions by which the ranks of the pool train with loaders and callbacks of a user."""

import copy
import pickle
import tempfile
import warnings
from functools import partial
from unittest import mock

import lightning as L
import torch
import torch.distributed as dist
from ranks_work import OURS, fit, plain_trainer  # loaded before, by the pool or the fixture
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.errors import LostError, RunError, UserError
from ffcore.local.block_optimizer import BlockOptimizer
from ffcore.ranks.group import Group
from ffcore.ranks.pipeline import PipelineStrategy
from ffcore.recipe.load import load
from ffcore.run.data import Data
from ffcore.run.trainer import apart
from ffcore_std.averaging import GrowingAverage

SGD = partial(torch.optim.SGD, lr=0.1)


class Masked(nn.Module):
    """ReLU(W x) ⊙ m with a mask that blocks share."""

    def __init__(self, inputs, mask):
        super().__init__()
        self.linear = nn.Linear(inputs, 30)
        self.register_buffer("mask", mask)

    def forward(self, x):
        return self.linear(x).relu() * self.mask


def samples(n):
    """Returns samples (N, 12) and their classes, which depend on the first three values."""
    x = torch.randn(n, 12, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :3].argmax(1))


def masked():
    """Returns the bodies of two blocks, with a mask that they share."""
    mask = (torch.arange(30) % 3 > 0).float()
    return [Masked(inputs, mask) for inputs in (12, 30)]


def with_batch_norm():
    """Returns the bodies of two blocks with batch norm, whose running statistics are buffers."""
    return [nn.Sequential(nn.Linear(i, 30), nn.BatchNorm1d(30), nn.ReLU()) for i in (12, 30)]


def trained(callbacks=(), loader=DataLoader, samplers=False, bodies=masked, make=SGD, **options):
    """Returns a module that was trained with torch's loaders, on a pipeline if there are several ranks."""
    torch.manual_seed(0)
    blocks = [ffcore.LocalBlock(body, "linear-head", objective="cross-entropy") for body in bodies()]
    net = ffcore.Network(blocks, "local-errors", example=torch.rand(2, 12), classes=3, seed=1)
    module = ffcore.ForwardOnly(net, make)
    with warnings.catch_warnings(), apart(1):
        warnings.simplefilter("ignore")
        trainer = plain_trainer(
            strategy=PipelineStrategy(20) if dist.is_initialized() else "auto",
            use_distributed_sampler=samplers,
            callbacks=list(callbacks),
            **{"max_epochs": 2, **options},
        )
        trainer.fit(module, loader(samples(120), batch_size=20), DataLoader(samples(50), batch_size=20))
    return module


def moved():
    """Train with a stand-in for the move to a GPU, which gives buffers new memory and new objects.

    Returns the buffers, the predictions, and whether each optimiser was made after the move.
    """
    moves, order = [], []

    def to(module, device):
        moves.append(device)
        return module._apply(torch.Tensor.clone)

    def make(parameters):
        order.append(bool(moves))
        return SGD(parameters)

    saves = L.pytorch.callbacks.ModelCheckpoint(tempfile.mkdtemp(), every_n_train_steps=3)
    with mock.patch.object(ffcore.ForwardOnly, "to", to):
        module = trained([saves], bodies=with_batch_norm, make=make, enable_checkpointing=True)
    x = torch.rand(50, 12, generator=torch.Generator().manual_seed(0))
    return {name: b.clone() for name, b in module.named_buffers()}, module.net.predict(x), order


def averaged():
    """Average the weights in a trainer of the user; returns the error."""
    try:
        trained([GrowingAverage()])
    except UserError as error:
        return str(error)
    return "none"


def skipped():
    """Train with a wrong batch in the first check, then for no epoch.

    Returns the predictions before and after it, and the error.
    """
    module = trained()
    x = torch.rand(50, 12, generator=torch.Generator().manual_seed(0))
    before = module.net.predict(x)
    with apart(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for bad in (True, False):
            val = DataLoader(TensorDataset(torch.rand(20, 12)) if bad else samples(50), batch_size=20)
            trainer = plain_trainer(
                strategy=PipelineStrategy(20), max_epochs=int(bad), use_distributed_sampler=False
            )
            try:
                trainer.fit(module, DataLoader(samples(120), batch_size=20), val)
            except UserError as error:
                failure = str(error)
    return before, module.net.predict(x), failure


class Watch(L.Callback):
    """A callback of others, which could read all weights."""


def watched():
    """Train with a callback of others on one rank only; returns validation accuracy and weights."""
    module = trained([Watch()] if Group().rank == 1 else [])
    return module.val_metrics["accuracy"], {n: p.detach().clone() for n, p in module.named_parameters()}


def stopped():
    """Returns the weights of a training that ends within an epoch, on ranks that hold all blocks."""
    module = trained([Watch()], max_steps=8, limit_val_batches=0)
    return {n: p.detach().clone() for n, p in module.named_parameters()}


def measured(samplers):
    """Returns validation accuracy and weights; with samplers Lightning divides and shuffles the samples."""
    module = trained(samplers=samplers)
    return module.val_metrics["accuracy"], {n: p.detach().clone() for n, p in module.named_parameters()}


def predicted():
    """Predict in a callback while each rank holds only its blocks; returns the error."""
    errors = []

    class Predict(L.Callback):
        def on_validation_end(self, trainer, pl_module):
            try:
                pl_module.net.predict(torch.rand(3, 12))
            except RuntimeError as error:
                errors.append(str(error))

    Predict.__module__ = OURS
    trained([Predict()])
    return errors


def held(recipe, overrides, pipeline):
    """Returns the bytes of the parameters here while this rank learns, of its blocks, and of all blocks."""
    seen = []

    class Look(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            blocks, owns = pl_module.network.learners, pl_module.distribution.owns
            own = {id(p) for name, block in blocks.items() if owns(name) for p in block.parameters()}
            every = [p for p in pl_module.parameters() if p.numel()]
            sizes = {id(p): p.numel() * p.element_size() for p in every}
            here = sum(sizes[id(p)] for p in every if not p.is_meta)
            seen.append((here, sum(sizes[i] for i in own), sum(sizes.values())))

    Look.__module__ = OURS
    fit(recipe, overrides, 3, pipeline, callbacks=[Look()])
    return seen


def tested(recipe, overrides):
    """Test a network, then fail in a test; returns the accuracies, the errors and the predictions.

    Each callback tries to predict within its test.
    """
    module, errors = fit(recipe, overrides, 20, {} if dist.is_initialized() else None), []
    fits = load(recipe, overrides)
    data = Data.open(fits)

    class Predict(L.Callback):
        def on_test_batch_end(self, trainer, pl_module, *args):
            try:
                pl_module.net.predict(torch.rand(3, *data.images.shape))
            except RuntimeError as error:
                errors.append(str(error))

    class Fail(L.Callback):
        def on_test_end(self, trainer, pl_module):
            raise ValueError("a test failed")

    Predict.__module__ = Fail.__module__ = OURS
    accuracies = []
    for callbacks in ([Predict()], [Fail()]):
        strategy = PipelineStrategy(fits.data.batch_size) if dist.is_initialized() else "auto"
        trainer = plain_trainer(strategy=strategy, inference_mode=False, callbacks=callbacks)
        with apart(1):
            try:
                trainer.test(module, data.loader(data.images.test, "cpu", None), verbose=False)
            except ValueError as error:
                errors.append(str(error))
        accuracies.append(module.test_metrics["accuracy"])
    return accuracies, errors, module.net.predict(torch.from_numpy(data.images.test.x[:20]).float())


def tested_in_large_batches(recipe, overrides):
    """Test with batches larger than those of learning, without shared memory; returns the accuracy."""
    module = fit(recipe, overrides, 20, {} if dist.is_initialized() else None)
    data = Data.open(load(recipe, [*overrides, "data.batch_size=150"]))
    strategy = PipelineStrategy(100) if dist.is_initialized() else "auto"
    trainer = plain_trainer(strategy=strategy, inference_mode=False)
    with apart(1), mock.patch("ffcore.ranks.link.possible", return_value=False):
        trainer.test(module, data.loader(data.images.test, "cpu", None), verbose=False)
    return module.test_metrics["accuracy"]


def failed():
    """Fail in a step of both ranks; returns the error, those of later uses, and what a repair gives."""

    class Fail(L.Callback):
        def on_fit_start(self, trainer, pl_module):
            self.module = pl_module

        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step == 3:
                raise ValueError("a step failed")

    Fail.__module__ = OURS
    fail, x, seen = Fail(), torch.rand(3, 12), []
    try:
        trained([fail])
    except (ValueError, LostError) as error:  # the other rank may notice the failure of this one first
        seen.append(str(error))
    try:
        fail.module.net.predict(x)
    except RuntimeError as error:
        seen.append(str(error))
    loader = DataLoader(samples(40), batch_size=20)
    for validation in (None, loader):
        with apart(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = plain_trainer(
                strategy=PipelineStrategy(20), max_epochs=1, use_distributed_sampler=False
            )
            try:
                trainer.fit(fail.module, loader, validation)
            except RuntimeError as error:
                seen.append(str(error))
    weights = {name: torch.zeros(value.shape) for name, value in fail.module.network.state_dict().items()}
    fail.module.network.load_state_dict(weights)
    return [*seen, fail.module.net.predict(x).tolist()]


def reconstructed():
    """Use a circuit while each rank holds only its blocks, and after a failure; returns both errors."""
    errors, circuits, x = [], [], torch.rand(3, 1, 8, 8)

    def attempt():
        try:
            circuits[0].reconstructed(x)
        except RuntimeError as error:
            errors.append(str(error))

    class Fail(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            circuits[:] = pl_module.network.circuits
            attempt()
            raise ValueError("a step failed")

    Fail.__module__ = OURS
    try:
        fit("digits/pff", ["network.0.units=[10, 10]"], 2, {}, callbacks=[Fail()])
    except (ValueError, LostError):
        attempt()
    return errors


def failed_alone(recipe, overrides, pipeline):
    """Fail in a step of rank 1 while rank 0 waits for it; returns the errors, exchanged after them."""

    class Fail(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, *args):
            if Group().rank == 1:
                raise ValueError("a step failed")

    Fail.__module__ = OURS
    try:
        fit(recipe, overrides, 2, pipeline, callbacks=[Fail()])
    except (ValueError, LostError) as error:
        return Group().objects(type(error).__name__)


def copied(recipe, overrides, pipeline):
    """Copy a network while it learns on two ranks; returns what became of the copy."""
    seen = []

    class Copy(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            if trainer.global_step > 1:
                return
            try:
                made = copy.deepcopy(pl_module.net)
                pickle.dumps(pl_module.net.local.body)
            except RunError as error:
                seen.append(str(error))
            else:
                seen.append(made.predict(torch.rand(3, 1, 8, 8)).shape)

    Copy.__module__ = OURS
    fit(recipe, overrides, 3, pipeline, callbacks=[Copy()])
    return seen


def shuffled():
    """Train with a loader whose order differs between the ranks."""

    def loader(data, batch_size):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(Group().rank)).tolist()
        return DataLoader(torch.utils.data.Subset(data, order), batch_size=batch_size)

    trained(loader=loader)


def placeholder():
    """Step with a parameter that has a gradient on an idle rank only; returns it."""
    ranks = Group()
    p, q = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = BlockOptimizer([p, q], torch.optim.SGD([p, q], lr=0.1, weight_decay=0.5), ranks=ranks)
    (p.sum() if ranks.rank == 0 else (p + q).sum()).backward()
    optimizer.update(4 if ranks.rank == 0 else 0)
    optimizer.finish()
    return q.tolist()
