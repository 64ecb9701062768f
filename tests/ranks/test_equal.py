"""Two ranks learn the same as one process from the global batch."""

import pytest

from tests.chosen import thorough_but

SMALL = {
    "ff": ("digits/ff", ["network.0.units=40"], 0.01),
    "ff hard": (
        "mnist/ff",
        ["data={kind: digits, batch_size: 50, validation: 0.1}", "network.0.units=40"],
        0.003,  # in single precision larger steps may change a negative sampled from the readout
    ),
    "channel with a residual": (
        "digits/channel",
        [
            "network=[{kind: conv, channels: 20}, {kind: residual, items: [{kind: conv, channels: 20}]}, "
            "{kind: conv, channels: 20, stride: 2}]",
        ],
        0.003,  # in single precision the input of a ReLU may be rounded to the other side of zero
    ),
    "pff": (
        "digits/pff",
        ["network.0.units=[40, 40]", "network.0.noise=0", "network.0.generator_noise=0"],
        0.01,
    ),
    "recurrent": ("digits/ff-recurrent", ["network.0.units=[40, 40]"], 0.01),
    "unsupervised": ("digits/ff-unsupervised", ["network.0.units=40"], 0.01),
    "losses that couple samples": (
        "digits/channel",
        ["block.penalties.contrast={kind: contrast, width: 8}"],
        0.01,
    ),
    "goodness that couples samples": (
        "digits/ff",
        ["network.0.units=40", "block.goodness=ranks_work:Among"],
        0.01,
    ),
    "goodness with running means of a pass": (
        "digits/ff",
        ["network.0.units=40", "block.goodness=predictive-coding"],
        0.01,
    ),
    "signal propagation": ("digits/sigprop", ["network.0.body.units=40", "network.1.units=40"], 0.01),
    "pairs of samples": (
        "digits/scff",
        [
            "network.1.units=40",
            "network.3.units=40",
            "schedule=joint",
            "readouts.linear.dropout=0",
            "readout_optimizer={kind: sgd, lr: 0.003}",
        ],
        0.003,
    ),
    "noprop": (
        "digits/noprop",
        [
            "network.0.steps=3",
            "network.0.image=[{kind: conv, channels: 8, bias: true}, {kind: dense, units: 20}]",
            "network.0.layer={kind: dense, units: 20}",
        ],
        0.1,
    ),
    "directions": (
        "digits/ffzero",
        [
            "network=[{kind: conv, channels: 8, bias: true, activation: identity}]",
            "block.rule.epsilon=1.0",
        ],
        0.01,
    ),
    "a branch that some batches use": ("digits/ff", ["network=[{kind: ranks_work:Branch}]"], 0.01),
    "batch norm": (
        "digits/channel",
        ["network=[{kind: conv-norm, channels: 20, stride: 2}, {kind: conv-norm, channels: 20}]"],
        0.01,
    ),
    "batch norm of rows, views together": (
        "digits/ff",
        ["network=[{kind: dense-bn, units: 40, repeat: 2}]"],
        0.01,
    ),
    "batch norm of rows, each view apart": (
        "digits/ff",
        ["network=[{kind: dense-bn, units: 40, repeat: 2}]", "block.per_view=true"],
        0.01,
    ),
    "batch norm within one graph": (
        "digits/backprop",
        ["network=[{kind: dense-bn, units: 40, repeat: 3}]"],
        0.01,
    ),
    "backprop": ("digits/backprop", ["network.0.units=40"], 0.01),
}
KEPT = (
    "ff hard",
    "channel with a residual",
    "pff",
    "losses that couple samples",
    "goodness with running means of a pass",
    "signal propagation",
    "directions",
    "a branch that some batches use",
    "batch norm of rows, each view apart",
)
# digits has 1,293 training samples: of batches of 68 the last has one, so that a rank has none
TUNED = {
    "single": ([], 10, "32-true", 1e-6),
    "double, uneven, accumulated and clipped": (
        ["data.batch_size=68", "trainer.accumulate=3", "trainer.clip=0.5"],
        20,
        "64-true",
        1e-12,
    ),
}


@pytest.mark.parametrize(
    ("options", "steps", "precision", "most"),
    thorough_but(["double, uneven, accumulated and clipped"], TUNED),
)
@pytest.mark.parametrize(("recipe", "overrides", "lr"), thorough_but(KEPT, SMALL))
def test_two_ranks_make_the_same_steps_as_one(
    pool, work, same_steps, recipe, overrides, lr, options, steps, precision, most
):
    arguments = [*overrides, *options, f"trainer.precision={precision}", f"optimizer={{kind: sgd, lr: {lr}}}"]
    one = work.learned(recipe, arguments, steps)
    ranks = pool("learned", recipe, arguments, steps)
    start = work.learned(recipe, arguments, steps=0)
    same_steps(one, start, ranks, most)
