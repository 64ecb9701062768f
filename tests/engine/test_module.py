"""Short runs with Lightning's trainer."""

import copy

import lightning
import pytest
import torch

from ffcore.interfaces import Component, LayerContribution


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_global_step_counts_batches_whatever_the_number_of_blocks(module, loader, fit, blocks):
    trainer = fit(module(blocks), loader(), epochs=2)  # 22 samples in batches of 8
    assert trainer.global_step == 6


def test_max_steps_counts_batches(module, loader, fit):
    assert fit(module(3), loader(), epochs=9, max_steps=4).global_step == 4


def test_the_same_seed_gives_the_same_parameters_to_the_bit(module, loader, fit):
    made = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        made.append(module())
        fit(made[-1], loader(), epochs=2)
    one, other = (m.network.state_dict() for m in made)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_gives_other_random_numbers(module, loader, fit):
    one, other = module(), module()
    other.seed = 2
    for made in (one, other):
        fit(made, loader())
    torch.testing.assert_close(module().network.state_dict(), module().network.state_dict())
    assert not torch.equal(*(next(m.network.parameters()) for m in (one, other)))


def test_every_batch_has_other_random_numbers(module, loader, fit):
    made, seen = module(seed=7), []
    learn = made.algorithm.learn

    def spy(batch, net):
        rng = batch.random()
        seen.append((rng.seed, rng.step, rng.first, rng.rows, rng.total))
        learn(batch, net)

    made.algorithm.learn = spy
    fit(made, loader(), epochs=2)
    sizes = (8, 8, 6, 8, 8, 6)
    assert seen == [(7, step, 0, size, size) for step, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("precision", "weights"), [("bf16-mixed", torch.float32), ("64-true", torch.float64)]
)
def test_runs_in_other_precisions(module, loader, fit, precision, weights):
    made = module(readouts={"readout": "softmax"})
    before = copy.deepcopy(made.network.state_dict())
    fit(made, loader(), loader(shuffle=False), precision=precision)
    for name, p in made.network.named_parameters():
        assert p.dtype == weights, name
        assert p.isfinite().all(), name
        assert not torch.equal(p.to(before[name].dtype), before[name]), name
    assert 0 <= made.val_metrics["accuracy"] <= 1


def test_an_incomplete_group_steps_at_the_end_of_the_epoch(module, loader, fit):
    accumulated = module(trainer={"accumulate": 9})
    one_batch = module()
    one_batch.seed = accumulated.seed
    for made in (accumulated, one_batch):  # draws differ with the batching, so take them out
        made.algorithm.negatives.forward = lambda x, y, probs, rng: (x, (y + 1) % 3)
    fit(accumulated, loader(batch_size=8))
    fit(one_batch, loader(batch_size=22))
    torch.testing.assert_close(
        accumulated.network.state_dict(), one_batch.network.state_dict(), rtol=0, atol=1e-6
    )
    assert not torch.equal(next(accumulated.network.parameters()), next(module().network.parameters()))


def test_the_schedule_freezes_blocks(module, loader, fit):
    made = module(2, schedule="greedy", trainer={"max_epochs": 2})
    start = copy.deepcopy(made.network.state_dict())
    fit(made, loader(), epochs=1)
    same = {name: torch.equal(p, start[name]) for name, p in made.network.named_parameters()}
    assert [all(s for name, s in same.items() if name.startswith(f"body.dense{i}")) for i in (1, 2)] == [
        False,
        True,
    ]


class Rates:
    """Learning rate of every block's optimiser, batch by batch."""

    def __init__(self, made):
        self.seen, learn = [], made.algorithm.learn

        def spy(batch, net):
            self.seen.append([g["lr"] for g in net.optimizers.param_groups])
            learn(batch, net)

        made.algorithm.learn = spy


def test_the_factor_on_learning_rates_reaches_every_block(module, loader, fit):
    made = module(2, readouts={"readout": "softmax"}, readout_optimizer={"kind": "sgd", "lr": 1.0})
    made.lr_factor, made.epochs = lambda epoch, epochs: 1 / (1 + epoch), 2
    rates = Rates(made)
    fit(made, loader(batch_size=11), epochs=2)
    right = [[0.1 * f, 0.1 * f, f] for f in (1.0, 1 / 1.5, 1 / 2, 1 / 2.5)]
    torch.testing.assert_close(rates.seen, right)


def test_a_resumed_run_ends_where_an_unbroken_one_does(module, loader, fit, tmp_path):
    def fresh():
        made = module(2, optimizer={"kind": "adam", "lr": 0.01}, trainer={"max_epochs": 4})
        made.lr_factor = lambda epoch, epochs: 1 / (1 + epoch)
        train = loader()
        train.epoch = lambda: made.current_epoch
        return made, train

    whole, train = fresh()
    fit(whole, train, epochs=4)
    half, train = fresh()
    fit(half, train, epochs=2).save_checkpoint(tmp_path / "half.ckpt")
    resumed, train = fresh()
    fit(resumed, train, epochs=4, ckpt_path=tmp_path / "half.ckpt")
    one, other = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


class Curious(LayerContribution):
    needs = frozenset({"train.loss", "val.loss", "val.scores"})

    def __init__(self):
        super().__init__()
        self.seen = []

    def observe(self, split, losses, scores, y):
        self.seen.append((split, losses, scores, y))

    def combine(self, scores):
        return scores.sum(0)


def test_a_contribution_observes_its_needs(module, loader, fit):
    made = module(2, optimizer={"kind": "sgd", "lr": 0.0})
    made.net.contribution = curious = Curious()
    train, val = loader(batch_size=11), loader(n=12, batch_size=5, shuffle=False)
    # labels that are drawn make the loss depend on the batch: take the next class instead
    made.algorithm.negatives.forward = lambda x, y, probs, rng: (x, (y + 1) % 3)
    fit(made, train, val)
    (train_losses,) = [losses for split, losses, *_ in curious.seen if split == "train"]
    ((val_losses, scores, y),) = [seen for split, *seen in curious.seen if split == "val"]
    right = torch.cat([made.algorithm.scores(batch.x, made.network) for batch in val], dim=1)
    torch.testing.assert_close(scores, right)
    assert torch.equal(y, torch.arange(12) % 3)
    torch.testing.assert_close(train_losses, mean_losses(made, train))
    torch.testing.assert_close(val_losses, mean_losses(made, val))


def test_a_source_that_did_not_learn_has_no_loss(module, loader, fit):
    made = module(2, schedule={"kind": "interleaved", "spans": [[0, 1], [1, 2]]}, trainer={"max_epochs": 2})
    made.net.contribution = curious = Curious()
    curious.needs = frozenset({"train.loss"})
    fit(made, loader(), epochs=2)
    silent = [losses.isnan().tolist() for _, losses, *_ in curious.seen]
    assert silent == [[False, True], [True, False]]


def test_losses_of_training_are_those_of_the_epoch(module, loader, fit):
    made, terms = module(1), []
    made.net.contribution = curious = Curious()
    curious.needs = frozenset({"train.loss"})
    record = made.network.record

    def spy(block, of_block, samples):
        terms.append(of_block["objective"] * samples)
        record(block, of_block, samples)

    made.network.record = spy
    fit(made, loader(), epochs=2)
    seen = torch.stack([losses for _, losses, *_ in curious.seen])
    torch.testing.assert_close(seen, torch.stack(terms).view(2, 3).sum(1, keepdim=True) / 22)


def mean_losses(made, data):
    """Weighted by samples: the loss is a mean over them and nothing learns."""
    total, n = 0, 0
    for batch in data:
        batch.rng = object()
        losses = made.network.losses(made.algorithm.views(batch, made.network))
        total = total + len(batch.x) * torch.stack([losses[b.name].detach() for b in made.network.blocks])
        n += len(batch.x)
    return total / n


def test_validation_reports_the_accuracy_of_the_combined_scores(module, loader, fit):
    made, val = module(), loader(n=12, batch_size=5, shuffle=False)
    trainer = fit(made, loader(), val)
    right = torch.cat([made.scores(b.x).argmax(1) == b.y for b in val]).float().mean()
    assert made.val_metrics["accuracy"] == pytest.approx(right.item())
    assert trainer.callback_metrics["val_accuracy"].item() == pytest.approx(right.item())
    assert torch.tensor(made.val_metrics["confusion"]).sum() == 12


def test_a_test_stores_its_metrics(module, loader, fit):
    made = module()
    trainer = fit(made, loader())
    trainer.test(made, loader(n=9, shuffle=False), verbose=False)
    assert torch.tensor(made.test_metrics["confusion"]).sum() == 9
    assert len(made.test_metrics["per_source"]) == 2


def test_batches_of_validation_and_test_have_random_numbers(module, loader, fit):
    made, drawn = module(), []
    made.algorithm.measure = lambda batch, net: drawn.append(batch.random().seed) or {}
    trainer = fit(made, loader(), loader(shuffle=False))
    trainer.test(made, loader(shuffle=False), verbose=False)
    assert len(drawn) > 2
    assert len(set(drawn)) == 1
    assert drawn[0] != made.seed


def test_lightnings_setup_hook_is_not_called_on_components(module, loader, fit):
    made, calls = module(readouts={"readout": "softmax"}), []
    components = [part for part in made.modules() if isinstance(part, Component)]
    for part in components:
        part.setup = lambda *args, **options: calls.append(args)
    fit(made, loader())
    assert len(components) > 5
    assert not calls


def test_the_distribution_chooses_what_is_moved_or_converted(module):
    made = module(2)
    first, second = (block.body.linear.weight for block in made.network.blocks)
    made.distribution.applied = lambda fn: lambda t: t if t is first else fn(t)
    made.double()
    assert (first.dtype, second.dtype) == (torch.float32, torch.float64)


class Fail(lightning.Callback):
    def on_test_batch_end(self, *args):
        raise ValueError("a test failed")


def test_a_test_that_ended_with_an_error_is_not_counted_in_the_next(module, loader, fit):
    made = module()
    trainer = fit(made, loader())
    trainer.callbacks.append(Fail())
    with pytest.raises(ValueError, match="a test failed"):
        trainer.test(made, loader(shuffle=False), verbose=False)
    trainer.callbacks.pop()
    trainer.test(made, loader(shuffle=False), verbose=False)
    assert sum(map(sum, made.test_metrics["confusion"])) == 22
