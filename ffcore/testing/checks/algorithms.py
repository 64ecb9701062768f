"""Checks of algorithms, on a small network and an easy problem.

L sources; N samples; K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from ffcore.build.assemble import assemble
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import ALONE, Batch, BatchRNG, Component, Progress
from ffcore.recipe.schema import Recipe
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, Placed, numbers

SHAPE = (1, 6, 6)
SAMPLES = 40
STEPS = 60
RECIPE: dict[str, Any] = {
    "name": "conformance",
    "data": {"kind": "digits"},
    "network": [{"kind": "dense", "units": 24, "repeat": 2}],
    "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
    "readouts": {"readout": "softmax"},
    "optimizer": {"kind": "adam", "lr": 0.01},
}
BY_CLASS: dict[str, Any] = {
    "network": [{"kind": "dense", "units": K, "activation": "identity", "repeat": 2}],
    "block": {"goodness": "logits", "objective": "cross-entropy", "handoff": "rms"},
}
"""For algorithms that read goodness of form "class"."""


def place_algorithm(example: Example, seed: int = 0) -> Placed:
    """Set up an algorithm in a network after two steps."""
    module = _trained(example, steps=2, seed=seed + 1)
    x = _problem().x
    return Placed(module, lambda: module.algorithm.scores(x, module.network))


def check_algorithm_learns_an_easy_problem(example: Example) -> None:
    """Of four clusters of images, 75 % are classified correctly after 60 steps."""
    module, batch = _trained(example), _problem()
    right = (module.scores(batch.x).argmax(1) == batch.y).float().mean()
    assert right >= 0.75, f"accuracy {right:.0%} on four easy classes after {STEPS} batches, below 75%"


def check_algorithm_scores_every_source_sample_and_class(example: Example) -> None:
    """Scores have shape (L, N, K), are finite and have no graph."""
    module, batch = _trained(example, steps=1), _problem()
    scores = module.algorithm.scores(batch.x[:5], module.network)
    right = (len(module.sources), 5, K)
    assert tuple(scores.shape) == right, f"scores are {tuple(scores.shape)}, not {right}"
    assert scores.isfinite().all(), "a score is not finite"
    assert not scores.requires_grad, "scores have a graph"


def check_algorithm_scores_samples_one_by_one(example: Example) -> None:
    """A sample's evidence does not depend on the rest of its batch."""
    module, batch = _trained(example, steps=2), _problem()
    module.eval()
    whole = module.algorithm.scores(batch.x[:6], module.network)
    some = module.algorithm.scores(batch.x[:2], module.network)
    assert_close(some, whole[:, :2], rtol=1e-4, atol=1e-5)


def check_algorithm_changes_every_block_that_can_learn(example: Example) -> None:
    """Every block with parameters changes some of them."""
    before, after = _trained(example, steps=0), _trained(example, steps=3)
    for name, block in after.network.learners.items():
        then = [p for p in before.network.learners[name].parameters() if p.requires_grad]
        now = [p for p in block.parameters() if p.requires_grad]
        moved = any((a != b).any() for a, b in zip(then, now, strict=True))
        assert moved or not now, f"{name} has parameters, and none has changed"


def check_algorithm_learns_a_batch_of_one(example: Example) -> None:
    """A batch of one sample, such as the last of an epoch, leaves finite weights."""
    module = _train(example, steps=1, seed=1)
    whole = _problem()
    one = Batch(whole.x[:1], whole.y[:1], torch.arange(1), 0, 1, rng=BatchRNG(1, 1, 0, 1, 1))
    module.algorithm.learn(one, module.network)
    assert _weights(module).isfinite().all(), "a weight is not finite after a batch of one sample"


def check_algorithm_repeats_itself_for_the_same_seed(example: Example) -> None:
    """Weights are bit-identical for the same seed, for any global random state."""
    once = _weights(_train(example, steps=3, seed=1))
    with torch.random.fork_rng(devices=[]):
        # Another global random state must not matter.
        torch.manual_seed(99)
        again = _weights(_train(example, steps=3, seed=1))
    assert torch.equal(once, again), "two runs with the same seed differ"


def check_algorithm_leaves_the_batch_and_the_random_state_alone(example: Example) -> None:
    """Learning does not change the batch or the global random state."""
    module, batch, state = _train(example, steps=0, seed=1), _problem(), torch.get_rng_state()
    before = batch.x.clone(), batch.y.clone()
    batch.rng = BatchRNG(1, 0, 0, SAMPLES, SAMPLES)
    module.algorithm.learn(batch, module.network)
    module.algorithm.scores(batch.x, module.network)
    assert_close((batch.x, batch.y), before, rtol=0, atol=0, msg="the batch has changed")
    assert torch.equal(state, torch.get_rng_state()), "uses the global random state instead of BatchRNG"


def _problem() -> Batch:
    y = torch.arange(SAMPLES) % K
    # clusters with centres far apart, compared with the noise of 0.1
    centres = 2 * numbers(K, *SHAPE).abs()
    x = centres[y] + 0.1 * numbers(SAMPLES, *SHAPE, seed=1)
    return Batch(x, y, torch.arange(SAMPLES), 0, SAMPLES)


def _trained(example: Example, steps: int = STEPS, seed: int = 1) -> ForwardOnly:
    return _train(example, steps, seed)


def _train(example: Example, steps: int, seed: int) -> ForwardOnly:
    """Train for some steps as the engine does, without a trainer."""
    # The network fits the form of goodness that the algorithm reads.
    own = {} if "energy" in example.entry.load().accepts else BY_CLASS
    parts = {**RECIPE, **own, **example.recipe, "algorithm": example.spec, "seed": seed}
    recipe = Recipe.model_validate(parts)
    module = assemble(recipe, SHAPE, K)
    module.configure_optimizers()
    net, batch = module.network, _problem()
    for step in range(steps):
        progress = Progress(0, step, recipe.trainer.max_epochs)
        net.plan(module.schedule.windows(progress, len(net.learning)))
        for part in module.modules():
            if isinstance(part, Component):
                part.advance(progress)
        batch.rng = BatchRNG(seed, step, 0, SAMPLES, SAMPLES)
        module.algorithm.learn(batch, net)
    for block in net.learners.values():
        block.rule.finish(block, ALONE)  # closed-form rules change parameters only here
    return module


def _weights(module: ForwardOnly) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])
