"""Level 2: any loader, and Lightning's own callbacks, loggers and checkpoints."""

import csv
from itertools import pairwise

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import BlackBox
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_std.schedules import Greedy

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*number of training batches",
    "ignore:Checkpoint directory",
)


def digits():
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    return x, torch.tensor(data.target)


def loader(first=0, last=600, shuffle=False, as_mapping=False):
    x, y = digits()
    rows = TensorDataset(x[first:last], y[first:last])
    collate = None
    if as_mapping:

        def collate(pairs):
            return {"x": torch.stack([x for x, _ in pairs]), "y": torch.stack([y for _, y in pairs])}

    return DataLoader(rows, batch_size=50, shuffle=shuffle, collate_fn=collate)


def module(optimizers=torch.optim.Adam, depth=2, **options):
    torch.manual_seed(0)
    sizes = [64, *[80] * depth]
    stages = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(a, b), nn.ReLU()), "sum-squares", objective="logistic", handoff="rms"
        )
        for a, b in pairwise(sizes)
    ]
    net = ffcore.Network(stages, ForwardForward(Overlay(), WrongLabel()), example=digits()[0][:2], classes=10)
    return ffcore.ForwardOnly(net, optimizers, **options)


def trainer(tmp_path, epochs=2, callbacks=(), logger=False, **options):
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        logger=logger,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def weights(made):
    return [p.detach().clone() for p in made.parameters()]


@pytest.mark.parametrize("as_mapping", [False, True])
def test_batches_are_pairs_or_mappings_and_global_step_counts_them(as_mapping, tmp_path):
    made = module(depth=3, lr=0.01)
    run = trainer(tmp_path, enable_checkpointing=False)
    run.fit(made, loader(as_mapping=as_mapping), loader(600, 800))
    assert run.global_step == 2 * 12
    assert run.callback_metrics["val_accuracy"] > 0.15
    assert set(run.callback_metrics) >= {"train_loss", "block1/loss", "block3/loss"}


def test_callbacks_read_the_losses_of_their_own_epoch(tmp_path):
    class Read(L.Callback):
        def __init__(self):
            self.seen = []

        def on_train_epoch_end(self, trainer, module):
            self.seen.append(float(trainer.callback_metrics["train_loss"]))

    each, last, read = [], module(lr=0.01), Read()
    plain = module().net
    optimizers = ffcore.optimizers(plain, torch.optim.Adam, lr=0.01)
    trainer(tmp_path, callbacks=[read], enable_checkpointing=False, limit_val_batches=0).fit(
        last, loader(), loader(600, 800)
    )
    for _ in range(2):
        losses = [sum(plain.learn(x, y, optimizers).values()) / 2 for x, y in loader()]
        each.append(float(sum(losses) / len(losses)))
    assert read.seen == pytest.approx(each, rel=1e-5)


def test_a_learning_rate_that_is_set_between_two_fits_is_used(tmp_path):
    class Rates(L.Callback):
        seen = ()

        def on_train_batch_end(self, trainer, module, *args):
            self.seen = {
                g["lr"] for each in module.optimizers().blocks.values() for g in each.optimizer.param_groups
            }

    made, rates = module(), Rates()
    optimizers = ffcore.optimizers(made.net, torch.optim.SGD, lr=0.1)
    quiet = {"enable_checkpointing": False, "limit_val_batches": 0}
    trainer(tmp_path, 1, [rates], **quiet).fit(
        ffcore.ForwardOnly(made.net, optimizers), loader(), loader(600, 800)
    )
    assert rates.seen == {0.1}
    for group in optimizers.param_groups:
        group["lr"] = 0.001
    trainer(tmp_path, 1, [rates], **quiet).fit(
        ffcore.ForwardOnly(made.net, optimizers), loader(), loader(600, 800)
    )
    assert rates.seen == {0.001}


def test_a_cache_needs_the_loader_of_a_run(tmp_path):
    made = module(lr=0.01)
    made.net.schedule = Greedy(cache=True)
    with pytest.raises(UserError, match=r"schedule\.cache: needs the loader of a run"):
        trainer(tmp_path, enable_checkpointing=False, limit_val_batches=0).fit(made, loader(), loader())
    assert made.net.batches == 0


def test_training_is_that_of_a_plain_loop_to_the_bit(tmp_path):
    made, plain = module(lr=0.01), module().net
    trainer(tmp_path, epochs=1, enable_checkpointing=False, limit_val_batches=0).fit(made, loader(), loader())
    optimizers = ffcore.optimizers(plain, torch.optim.Adam, lr=0.01)
    for x, y in loader():
        plain.learn(x, y, optimizers)
    assert all(torch.equal(a, b) for a, b in zip(weights(made.net), weights(plain), strict=True))


def test_a_plain_loop_continues_after_the_trainer_with_new_random_numbers(tmp_path):
    made = module(lr=0.01)
    trainer(tmp_path, epochs=2, enable_checkpointing=False, limit_val_batches=0).fit(made, loader(), loader())
    assert made.net.batches == 24
    assert made.net.state_dict()["_extra_state"] == 24


def test_fitting_boxes_needs_a_separate_iterator(tmp_path):
    class Centred(BlackBox):
        def fit(self, batches):
            self.mean = torch.cat(list(batches)).mean(0)

        def forward(self, x):
            return x - getattr(self, "mean", 0)

    first = ffcore.LocalBlock(nn.Linear(64, 20), "sum-squares", objective="logistic")
    net = ffcore.Network(
        [first, ffcore.local.BoxStage(Centred())],
        ForwardForward(Overlay(), WrongLabel()),
        example=digits()[0][:2],
        classes=10,
    )
    batches = DataLoader(TensorDataset(*digits()), batch_size=500, num_workers=1, persistent_workers=True)
    with pytest.raises(UserError, match="set persistent_workers=False"):
        trainer(tmp_path, enable_checkpointing=False).fit(
            ffcore.ForwardOnly(net, torch.optim.Adam), batches, loader(0, 50)
        )


def test_a_data_module_works_too(tmp_path):
    class Digits(L.LightningDataModule):
        def train_dataloader(self):
            return loader()

        def val_dataloader(self):
            return loader(600, 700)

        def test_dataloader(self):
            return loader(700, 800)

        def predict_dataloader(self):
            return loader(800, 900)

    made, run = module(), trainer(tmp_path, enable_checkpointing=False)
    run.fit(made, Digits())
    (metrics,) = run.test(made, Digits(), verbose=False)
    assert metrics["test_accuracy"] == pytest.approx(made.test_metrics["accuracy"])
    classes = torch.cat(run.predict(made, Digits()))
    assert torch.equal(classes, made.net.predict(digits()[0][800:900]))


def test_checkpoints_have_the_optimisers_and_resuming_is_exact(tmp_path):
    keep = ModelCheckpoint(tmp_path / "kept", monitor="val_accuracy", mode="max", save_last=True)
    whole = module(lr=0.01)
    trainer(tmp_path, epochs=4, enable_checkpointing=False).fit(whole, loader(), loader(600, 700))
    half = module(lr=0.01)
    run = trainer(tmp_path, epochs=2, callbacks=[keep])
    run.fit(half, loader(), loader(600, 700))
    state = torch.load(keep.last_model_path, weights_only=True)
    assert set(state["optimizer_states"][0]["blocks"]) == {"block1", "block2"}
    assert keep.best_model_score == max(keep.best_k_models.values())
    resumed = module(lr=0.01)
    again = ModelCheckpoint(tmp_path / "kept", monitor="val_accuracy", mode="max", save_last=True)
    trainer(tmp_path, epochs=4, callbacks=[again]).fit(
        resumed, loader(), loader(600, 700), ckpt_path=keep.last_model_path
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_checkpoint_loads_into_a_new_network(tmp_path):
    made = module()
    run = trainer(tmp_path, epochs=1, enable_checkpointing=False)
    run.fit(made, loader(), loader(600, 700))
    run.save_checkpoint(tmp_path / "one.ckpt")
    other = module()
    found = ffcore.ForwardOnly.load_from_checkpoint(
        tmp_path / "one.ckpt", net=other.net, optimizers=torch.optim.Adam
    )
    x = digits()[0][:30]
    assert torch.equal(found.net.scores(x), made.net.scores(x))


def test_callbacks_and_loggers_see_the_metrics(tmp_path):
    stop = EarlyStopping("train_loss", patience=1, min_delta=10.0, check_on_train_epoch_end=True)
    logger = CSVLogger(tmp_path, name="log")
    run = trainer(tmp_path, epochs=9, callbacks=[stop, LearningRateMonitor()], logger=logger)
    run.fit(module(lr=0.01), loader(), loader(600, 700))
    assert run.current_epoch < 9
    logger.save()
    with open(f"{logger.log_dir}/metrics.csv", encoding="utf-8") as file:
        columns = set(csv.DictReader(file).fieldnames)
    assert columns >= {"train_loss", "val_accuracy", "block1/loss"}
    assert any(column.startswith("lr-") for column in columns)


def test_existing_optimisers_may_be_passed():
    net = module().net
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    assert ffcore.ForwardOnly(net, optimizers).configure_optimizers() is optimizers
    with pytest.raises(UserError, match="these exist already"):
        ffcore.ForwardOnly(net, optimizers, lr=0.1)


def test_a_localized_model_is_trained_and_given_back(tmp_path):
    model = nn.Sequential(nn.Sequential(nn.Linear(64, 100), nn.ReLU()), nn.Linear(100, 10))
    net = ffcore.localize(
        model, "0", head="1", example=digits()[0][:2], classes=10, algorithm="forward-forward",
        goodness="sum-squares", objective="logistic",
    )  # fmt: skip
    trainer(tmp_path, epochs=4, enable_checkpointing=False, limit_val_batches=0).fit(
        ffcore.ForwardOnly(net, torch.optim.Adam, lr=3e-3), loader(0, 1500, shuffle=True), loader()
    )
    x, y = digits()
    assert (ffcore.delocalize(net)(x[1500:]).argmax(1) == y[1500:]).float().mean() > 0.5


BAD = {
    "a tensor alone": (torch.zeros(4, 64), "a batch should be a pair"),
    "three tensors": ((torch.zeros(4, 64),) * 3, "not (tuple|list) of Tensor, Tensor, Tensor"),
    "classes of floats": (
        (torch.zeros(4, 64), torch.zeros(4)),
        r"should be an int64 tensor \(4,\) of classes",
    ),
    "a mapping without y": ({"x": torch.zeros(4, 64)}, "not a mapping with 'x'"),
}


@pytest.mark.parametrize(("batch", "complaint"), BAD.values(), ids=BAD)
def test_batches_that_are_none_are_refused(batch, complaint, tmp_path):
    run = trainer(tmp_path, enable_checkpointing=False, limit_val_batches=0)
    with pytest.raises(UserError, match=complaint):
        run.fit(module(), DataLoader([batch], batch_size=None), loader())


def test_a_network_is_asked_for():
    with pytest.raises(UserError, match=r"net: should be an ffcore\.Network, not a Linear"):
        ffcore.ForwardOnly(nn.Linear(3, 3), torch.optim.SGD)


class Own(L.LightningModule):
    """A module written by hand, as in docs/levels.md."""

    def __init__(self):
        super().__init__()
        self.net, self.automatic_optimization = module().net, False

    def configure_optimizers(self):
        return ffcore.optimizers(self.net, torch.optim.Adam, lr=1e-3)

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        self.net.learn(*batch, optimizers)
        optimizers.step()


def test_a_module_written_by_hand_is_checkpointed_and_resumed(tmp_path):
    whole, saves = Own(), ModelCheckpoint(tmp_path / "saves")
    trainer(tmp_path, 2, [saves]).fit(whole, loader())
    state = torch.load(saves.best_model_path, weights_only=True)
    assert state["global_step"] == 24
    assert set(state["optimizer_states"][0]["blocks"]) == set(whole.net.local.learners)
    half = trainer(tmp_path, 1)
    half.fit(Own(), loader())
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed = Own()
    trainer(tmp_path, 2).fit(resumed, loader(), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
