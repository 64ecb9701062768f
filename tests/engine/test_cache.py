"""The cache of finished blocks."""

from dataclasses import replace

import pytest
import torch

from ffcore.engine.cache import Cache
from ffcore.errors import UserError
from ffcore.interfaces import Batch

GREEDY = {"kind": "greedy", "cache": True}


def calls(made):
    """Counts how often each block runs while learning."""
    count = {block.name: 0 for block in made.network.blocks}
    for block in made.network.blocks:

        def note(body, inputs, out, name=block.name):
            count[name] += 1

        block.body.register_forward_hook(note)
    return count


def test_a_finished_block_runs_once_over_the_training_set(module, fit, loader):
    made, train = module(blocks=3, schedule=GREEDY, trainer={"max_epochs": 6}), loader()
    count = calls(made)
    fit(made, train, epochs=6)
    batches = len(train)
    # two epochs to learn, and one pass at the beginning of each later block's turn
    assert list(count.values()) == [2 * batches + 2 * batches, 2 * batches + batches, 2 * batches]


def test_without_a_cache_blocks_after_the_last_learner_do_not_run(module, fit, loader):
    made, train = module(blocks=3, schedule="greedy", trainer={"max_epochs": 3}), loader()
    count = calls(made)
    fit(made, train, epochs=3)
    assert list(count.values()) == [3 * len(train), 2 * len(train), len(train)]


def test_cached_views_are_the_outputs_of_the_finished_blocks(module, fit, loader):
    made, train = module(blocks=3, schedule=GREEDY, trainer={"max_epochs": 6}), loader()
    fit(made, train, epochs=6)
    network = made.network
    network.plan([range(2, 3)])
    cache = Cache(network, made.algorithm, train, seed=1)
    index = torch.tensor([5, 0, 21])
    everything = next(iter(loader(batch_size=22, shuffle=False)))
    views = cache.views(Batch(everything.x[index], everything.y[index], index, 0, 3))
    assert (views.roles, views.sizes) == (("positive", "negative"), (3, 3))
    assert views.hypothesis[:3].tolist() == views.y.tolist() == everything.y[index].tolist()
    assert not (views.hypothesis[3:] == views.y).any()
    labels = made.algorithm.labels
    h = labels.join(everything.x[index], labels.code(views.hypothesis, 6))
    goodness = []
    for block in network.blocks[:2]:
        goodness.append(block.goodness(block.body(h)))
        h = block(h)
    torch.testing.assert_close(views.x, h)
    torch.testing.assert_close(views.upstream, goodness)


def test_with_the_same_views_a_cache_changes_nothing(module, loader):
    """The second block learns the same with and without the cache."""
    learned = []
    for cached in (True, False):
        made = module(blocks=2, schedule=GREEDY)
        made.configure_optimizers()
        made.network.plan([range(1, 2)])
        cache = Cache(made.network, made.algorithm, loader(), seed=1)
        batch = next(iter(loader()))
        views = cache.views(batch)
        if cached:
            made.network.learn(views, entered=True)
        else:
            labels = made.algorithm.labels
            x = labels.join(batch.x, labels.code(views.hypothesis, len(views.hypothesis)))
            made.network.learn(replace(views, x=x))
        learned.append(made.network.state_dict())
    torch.testing.assert_close(*learned)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"readouts": {"softmax": "softmax"}}, "readouts learn from all blocks, and some of these always"),
        ({"data": {"kind": "digits", "augment": ["shift"]}}, "data.augment"),
    ],
)
def test_views_that_cannot_be_cached_are_refused(module, more, why):
    with pytest.raises(UserError, match=f"schedule.cache: {why}"):
        module(schedule=GREEDY, **more)


def test_the_cache_has_new_random_numbers_for_every_block(module, fit, loader):
    made, train = module(blocks=3), loader()
    hypotheses = []
    for learning in (1, 2):
        made.network.plan([range(learning, learning + 1)])
        hypotheses.append(Cache(made.network, made.algorithm, train, seed=1)._kept["hypothesis"][1])
    assert not torch.equal(*hypotheses)


READS = {
    "algorithm": "forward-forward-unsupervised",
    "readouts": {"softmax": {"kind": "softmax", "taps": ["dense1", "dense2"]}},
    "trainer": {"max_epochs": 3},
}


def interleaved(cache):
    return {"kind": "interleaved", "spans": [[0, 1], [0, 1]], "cache": cache}


def test_readouts_learn_from_stored_handoffs_once_no_block_learns(module, fit, loader):
    made, train = module(schedule=interleaved(True), **READS), loader()
    count = calls(made)
    fit(made, train, epochs=3)
    batches = len(train)
    # in the first epoch a pass to learn and one for the readouts, then one to fill the cache
    assert list(count.values()) == [2 * batches + batches] * 2


def test_readouts_learn_the_same_with_and_without_a_cache(module, fit, loader):
    learned = []
    for cache in (True, False):
        made = module(schedule=interleaved(cache), **READS)
        fit(made, loader(), epochs=3)
        learned.append(made.network.state_dict())
    torch.testing.assert_close(*learned)


def test_a_second_fit_reads_its_own_data(module, fit, loader):
    made = module(schedule=interleaved(True), **READS)
    for block in made.network.blocks:
        block.freeze()
    made.net.schedule.spans = []  # no block learns, so the plan never changes
    fit(made, loader(), epochs=2)
    assert made.cached is None
    fit(made, loader(n=30), epochs=2)  # more samples than the first cache has


def test_a_pruned_block_is_read_again(module, fit, loader):
    made = module(schedule=interleaved(True), **READS)
    made.configure_optimizers()
    made.cached = "of the layers before"
    torch.nn.utils.prune.l1_unstructured(made.network.blocks[0].body.linear, "weight", amount=0.5)
    made.on_train_epoch_start()
    assert made.cached is None
