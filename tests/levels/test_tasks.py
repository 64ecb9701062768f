"""Targets that are not one class a sample: tokens, pixels, labels, real numbers."""

import lightning as L
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.engine.measures import measures_of
from ffcore.errors import UserError
from ffcore.tasks import MultiLabel, PixelClassification, Regression, TokenClassification

VOCABULARY, T, D = 5, 4, 6


def tokens(n=8, padded=True):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(VOCABULARY, (n, T), generator=generator)
    y = (x + 1) % VOCABULARY
    if padded:
        y[:2, 1:] = -100
    return x, y


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.layer = nn.Embedding(VOCABULARY, D), nn.Linear(D, D)

    def forward(self, x):
        return torch.tanh(self.layer(self.token(x)))


def token_network(**more):
    torch.manual_seed(1)
    head = {"kind": "linear-head", "init": "uniform"}
    blocks = [
        ffcore.LocalBlock(body, head, objective="cross-entropy")
        for body in (Embedded(), nn.Sequential(nn.Linear(D, D), nn.Tanh()))
    ]
    more = {"algorithm": "local-errors", "task": TokenClassification(VOCABULARY), **more}
    return ffcore.Network(blocks, example=tokens()[0][:2], **more)


def test_positions_without_a_target_have_no_loss():
    net, (x, y) = token_network(), tokens()
    block = net.blocks[0]
    h = block.body(x)
    logits = block.goodness.linear(h)
    wanted = F.cross_entropy(logits.flatten(0, 1), y.flatten())  # ignores −100
    (right,) = torch.autograd.grad(wanted, block.body.layer.weight)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=1.0)
    before = block.body.layer.weight.detach().clone()
    losses = net.learn(x, y, optimizers)
    torch.testing.assert_close(losses["block1"], wanted.detach())
    torch.testing.assert_close(before - block.body.layer.weight, right)


def test_accumulated_batches_count_their_targets():
    x, y = tokens()  # the first two samples have one target, the others four
    whole, parts = token_network(), token_network()
    whole.learn(x, y, ffcore.optimizers(whole, torch.optim.SGD, lr=1.0))
    optimizers = ffcore.optimizers(parts, torch.optim.SGD, lr=1.0, accumulate=2)
    for some in (slice(0, 3), slice(3, 8)):
        parts.learn(x[some], y[some], optimizers)
    for own, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("batches", [1, 2])
def test_batches_without_a_target_leave_finite_weights(batches):
    net, (x, y) = token_network(), tokens()
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=1.0, accumulate=batches)
    before = [p.detach().clone() for p in net.parameters()]
    for _ in range(batches):
        net.learn(x, torch.full_like(y, -100), optimizers)
    assert all(torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


def test_readouts_of_blocks_with_other_pixels_are_resized():
    x = torch.rand(4, 1, 8, 8)
    blocks = [
        ffcore.LocalBlock(body, "linear-head", objective="cross-entropy")
        for body in (nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 2, stride=2))
    ]
    net = ffcore.Network(
        blocks, "local-errors", x, task=PixelClassification(3), readouts={"r": {"kind": "softmax"}}
    )
    assert net.evidence(x).shape == (3, 4, 8, 8, 3)


@pytest.mark.parametrize(("dtype", "right"), [(torch.int64, r"x\.float\(\)"), (torch.uint8, "x / 255")])
def test_labels_are_not_written_into_integers(dtype, right):
    block = ffcore.LocalBlock(nn.Linear(6, 4), "sum-squares", objective="logistic")
    with pytest.raises(UserError, match=rf"labels are written into floats, not into {dtype}; use {right}"):
        ffcore.Network([block], "forward-forward", torch.zeros(2, 6, dtype=dtype), classes=3)


def test_tokens_are_predicted_and_measured_by_position():
    net, (x, y) = token_network(), tokens(64)
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-2)
    for _ in range(60):
        net.learn(x, y, optimizers)
    assert net.predict(x).shape == (64, T)
    assert net.evidence(x).shape == (2, 64, T, VOCABULARY)
    torch.testing.assert_close(net.predict_proba(x).sum(-1), torch.ones(64, T))
    measured = ffcore.evaluate(net, (x, y))
    kept = y != -100
    wanted = F.cross_entropy(net.scores(x)[kept], y[kept])
    assert measured.measures["cross_entropy"] == pytest.approx(float(wanted), rel=1e-4)
    assert measured.measures["perplexity"] == pytest.approx(float(wanted.exp()), rel=1e-4)
    assert measured.accuracy == pytest.approx(float((net.predict(x) == y)[kept].float().mean()))
    assert measured.accuracy > 0.95
    assert list(measured.per_block) == ["block1", "block2"]


def test_a_readout_reads_every_position():
    net, (x, y) = token_network(readouts={"probe": "softmax"}, contribution="readout"), tokens()
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-2)
    first = float(net.learn(x, y, optimizers)["probe"])
    assert first == pytest.approx(float(torch.tensor(VOCABULARY).log()))  # weights of zero
    for _ in range(60):
        last = float(net.learn(x, y, optimizers)["probe"])
    assert last < 0.5 * first
    assert net.predict(x).shape == (8, T)


def test_blocks_of_another_resolution_are_judged_at_their_own_pixels():
    x, y = torch.rand(6, 1, 8, 8), torch.randint(3, (6, 8, 8))
    y[0] = -100
    small = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 1))
    blocks = [
        ffcore.LocalBlock(body, {"kind": "linear-head", "init": "uniform"}, objective="cross-entropy")
        for body in (nn.Conv2d(1, 4, 3, padding=1), small)
    ]
    net = ffcore.Network(blocks, "local-errors", x[:2], task=PixelClassification(3), contribution="sum")
    assert net.evidence(x).shape == (2, 6, 8, 8, 3)
    with torch.no_grad():
        h = small(blocks[0].body(x))
        logits = F.interpolate(blocks[1].goodness.linear(h.movedim(1, -1)).movedim(-1, 1), scale_factor=2)
    losses = net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1e-3))
    torch.testing.assert_close(losses["block2"], F.cross_entropy(logits, y))
    assert set(ffcore.evaluate(net, (x, y)).measures) == {"iou", "accuracy"}


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_real_numbers_are_predicted_in_their_own_units(shape):
    x = torch.randn(40, 3)
    y = (x @ torch.tensor([1.0, 2.0, -1.0]) + 5).reshape(shape)
    block = ffcore.LocalBlock(nn.Linear(3, 8), "linear-head", objective="squared-error")
    net = ffcore.Network([block], "local-errors", x[:2], task="regression")
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=5e-2)
    for _ in range(200):
        losses = net.learn(x, y, optimizers)
    made = net.predict(x)
    assert made.shape == (40, 1)
    assert float(losses["block1"]) < 0.1
    measured = ffcore.evaluate(net, (x, y)).measures
    error = (made - y.view(40, 1)).square().sum()
    total = (y - y.mean()).square().sum()
    assert measured["r2"] == pytest.approx(float(1 - error / total), rel=1e-4)
    assert measured["mae"] == pytest.approx(float((made - y.view(40, 1)).abs().mean()), rel=1e-4)
    with pytest.raises(UserError, match="predict_proba"):
        net.predict_proba(x)
    with pytest.raises(AttributeError, match="has no accuracy; it has r2, mae, rmse"):
        _ = ffcore.evaluate(net, (x, y)).accuracy


def test_several_labels_are_learned_apart():
    x = torch.randn(80, 4)
    y = (x[:, :3] > 0).long()
    block = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(4, 16), nn.ReLU()), "linear-head", objective="binary-cross-entropy"
    )
    net = ffcore.Network([block], "local-errors", x[:2], task=MultiLabel(3))
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-2)
    for _ in range(100):
        net.learn(x, y, optimizers)
    assert (net.predict(x) == y).float().mean() > 0.95
    measured = ffcore.evaluate(net, (x, y)).measures
    assert list(measured) == ["average_precision", "f1"]
    assert measured["average_precision"] > 0.97


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_logs_the_measures_of_the_task(tmp_path):
    x, y = tokens(32)
    module = ffcore.ForwardOnly(token_network(), torch.optim.Adam, lr=3e-2)
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=8)
    trainer.fit(module, loader, loader)
    logged = trainer.callback_metrics
    assert {"val_perplexity", "val_cross_entropy", "val_accuracy", "train_loss"} <= set(logged)
    torch.testing.assert_close(logged["val_perplexity"].log(), logged["val_cross_entropy"])


def head(objective="cross-entropy", body=None, **more):
    return ffcore.LocalBlock(body or nn.Linear(3, 4), "linear-head", objective=objective, **more)


def network(block, **how):
    return ffcore.Network([block], **{"algorithm": "local-errors", "example": torch.rand(4, 3), **how})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(head(), task="regression"), "reads targets of the sort class"),
        (lambda: network(head("squared-error"), classes=3), "reads targets of the sort values"),
        (lambda: network(head(), task=TokenClassification(3)), r"\(4,\) has no positions"),
        (lambda: network(head(), task=TokenClassification(3), classes=3), "leave classes or task out"),
        (lambda: network(head(), task="sorting"), "task"),
        (lambda: network(head()), "classes: should be the number of classes"),
        (
            lambda: ffcore.Network(
                [ffcore.LocalBlock(nn.Linear(3, 4), "sum-squares", objective="logistic")],
                "forward-forward",
                torch.rand(4, 3),
                task="regression",
            ),
            "ForwardForward learns from targets of the sort class",
        ),
        (
            lambda: ffcore.Network(
                [head("squared-error"), head("squared-error", nn.Linear(4, 4))],
                "local-errors",
                torch.rand(4, 3),
                task="regression",
                contribution="sum",
            ),
            "does not average the predictions of the 2 sources",
        ),
        (
            lambda: network(
                head("binary-cross-entropy", penalties={"sim": "similarity"}), task=MultiLabel(2)
            ),
            "needs one class a sample",
        ),
    ],
)
def test_parts_that_do_not_fit_the_task_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("task", "objective", "y", "message"),
    [
        (Regression(1), "squared-error", torch.zeros(4, 2), "should be floats"),
        (Regression(2), "squared-error", torch.zeros(4), "should be floats"),
        (Regression(1), "squared-error", torch.tensor([1.0, float("nan"), 0, 0]), "not finite"),
        (Regression(1), "squared-error", torch.zeros(4, dtype=torch.int64), "should be floats"),
        (MultiLabel(2), "binary-cross-entropy", torch.full((4, 2), 2), "values other than 0 and 1"),
        (MultiLabel(2), "binary-cross-entropy", torch.zeros(4), "zeros and ones"),
    ],
)
def test_targets_that_do_not_fit_the_task_are_refused(task, objective, y, message):
    net = network(head(objective), task=task)
    with pytest.raises(UserError, match=message):
        net.learn(torch.rand(4, 3), y, ffcore.optimizers(net, torch.optim.SGD, lr=1e-2))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(8, dtype=torch.int64), "positions"),
        (torch.zeros(8, T), "int64"),
        (torch.full((8, T), VOCABULARY), "classes run from 5 to 5"),
        (torch.zeros(8, T + 1, dtype=torch.int64), "only images are resized"),
    ],
)
def test_targets_of_tokens_are_checked(y, message):
    net = token_network()
    with pytest.raises(UserError, match=message):
        net.learn(tokens()[0], y, ffcore.optimizers(net, torch.optim.SGD, lr=1e-2))


def test_sequences_may_have_another_length_than_the_example():
    """Tokens, and several inputs, are padded batch by batch; a single tensor of floats keeps its shape."""
    body = ffcore.LocalBlock(nn.Embedding(5, 8), "linear-head", objective="cross-entropy")
    net = ffcore.Network(
        [body], "local-errors", example=torch.zeros(2, 7).long(), task=TokenClassification(5)
    )
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    for length in (3, 9):
        x = torch.randint(5, (4, length))
        net.learn(x, x, optimizers)
        assert net.predict(x).shape == (4, length)
    with pytest.raises(UserError, match=r"2 samples of shape \(3, 2\); the network was built for \(7,\)"):
        net.predict(torch.zeros(2, 3, 2).long())


@pytest.mark.parametrize(
    "box", [[], [{"kind": "blackbox", "box": {"kind": "sign"}}]], ids=["blocks", "a box"]
)
def test_a_cache_of_finished_blocks_changes_nothing_for_tokens(tmp_path, box):
    item = {"kind": "attention", "heads": 2}
    options = {
        "network": [{"kind": "embedding", "units": 16, "tokens": 8}, *box, item, item],
        "data": {"options": {"samples": 200}},
        "trainer": {"max_epochs": 6, "threads": 1, "bar": False},
    }
    runs = [
        ffcore.train(
            "sequences/first-token",
            run_dir=tmp_path / str(cache),
            report=False,
            schedule={"kind": "greedy", "cache": cache},
            **options,
        )
        for cache in (False, True)
    ]
    one, other = (run.module.state_dict() for run in runs)
    assert all(torch.equal(one[name], other[name]) for name in one if isinstance(one[name], torch.Tensor))


def line():
    """Samples (N, 5) and targets (N, 1) with the mean 10 and the standard deviation 2."""
    x = torch.randn(600, 5, generator=torch.Generator().manual_seed(0))
    return x, 10 + 2 * x[:, :1]


def regressor(x):
    torch.manual_seed(0)
    block = ffcore.LocalBlock(nn.Linear(5, 32), "linear-head", objective="squared-error")
    task = Regression(mean=[10.0], std=[2.0])
    return ffcore.Network([block], "local-errors", example=x[:2], task=task)


def test_losses_read_standardised_numbers_and_predictions_have_the_units_of_the_targets():
    x, y = line()
    net, plain = regressor(x), regressor(x)
    plain.task.mean = plain.task.std = None
    optimizers, others = (ffcore.optimizers(each, torch.optim.Adam, lr=1e-2) for each in (net, plain))
    for rows in torch.arange(600).repeat(10).split(50):
        losses = net.learn(x[rows], y[rows], optimizers)
        assert losses == plain.learn(x[rows], (y[rows] - 10) / 2, others)
    torch.testing.assert_close(net.predict(x), 10 + 2 * plain.predict(x))
    measures = ffcore.evaluate(net, (x, y)).measures
    assert measures["rmse"] == pytest.approx((net.predict(x) - y).square().mean().sqrt().item(), rel=1e-5)
    assert measures["r2"] > 0.95


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_run_and_a_trainer_standardise_as_the_task_says(tmp_path):
    x, y = line()
    run = ffcore.fit(regressor(x), (x, y), test=(x, y), epochs=30, run_dir=tmp_path / "run", report=False)
    found = ffcore.evaluate(run, (x, y)).measures["rmse"]
    assert run.results.test.measures["rmse"] == pytest.approx(found, rel=1e-5)
    assert found < 0.5
    batches = DataLoader(TensorDataset(x, y), batch_size=50)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(max_epochs=10, accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.fit(ffcore.ForwardOnly(net := regressor(x), torch.optim.Adam, lr=1e-2), batches, batches)
    found = (net.predict(x) - y).square().mean().sqrt().item()
    assert trainer.callback_metrics["val_rmse"].item() == pytest.approx(found, rel=1e-5)
    assert found < 0.5


@pytest.mark.parametrize(
    ("options", "complaint"),
    [({"std": [0.0]}, "std: should be above 0"), ({"mean": [float("nan")]}, "mean: should be finite")],
)
def test_impossible_moments_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Regression(**options)


def test_targets_need_not_be_contiguous():
    x, y = torch.rand(20, 3), torch.rand(2, 20).T
    block = ffcore.LocalBlock(nn.Linear(3, 8), "linear-head", objective="squared-error")
    net = ffcore.Network([block], "local-errors", example=x[:2], task=Regression(2))
    assert ffcore.evaluate(net, (x, y)).measures["rmse"] > 0


def test_average_precision_ranks_large_logits_too():
    y = torch.randint(0, 2, (400, 2), generator=torch.Generator().manual_seed(0))
    scores = 20 + 10 * (torch.randn(400, 2, generator=torch.Generator().manual_seed(1)) + y)
    measures = measures_of(MultiLabel(2), 1)
    measures.update(scores[None], scores, y)
    right = average_precision_score(y, scores)
    assert measures.metrics()["average_precision"] == pytest.approx(right, abs=1e-6)


def test_an_exact_match_is_an_image_whose_pixels_are_all_right():
    task = ffcore.tasks.PixelClassification(2, headline="exact_match")
    y = torch.tensor([[[0, 1], [1, 0]], [[0, 0], [1, 1]], [[1, -100], [0, 0]], [[1, -100], [0, 0]]])
    guess = torch.tensor([[[0, 1], [1, 0]], [[0, 0], [1, 0]], [[1, 1], [0, 0]], [[0, 1], [0, 0]]])
    scores = torch.nn.functional.one_hot(guess, 2).float()
    measures = task.precise_measures()
    for measure in measures.values():
        measure.update(*task.measurable(scores, y))
    found = {name: float(measure.compute()) for name, measure in measures.items()}
    assert found["exact_match"] == 0.5
    assert found["accuracy"] == pytest.approx(12 / 14)
    assert "exact_match" not in ffcore.tasks.PixelClassification(2).measures()
