"""Two replicas of a pipeline of two ranks learn the same as one process."""

import pytest
import torch

GRID = {
    "ff": ("digits/ff", ["network.0.units=40"], 0.01),
    "ff, hypotheses and readouts": ("digits/ff-unsupervised", ["network.0.units=40"], 0.01),
    "channel": ("digits/channel", ["block.penalties.contrast={kind: contrast, width: 8}"], 0.1),
    "local errors": ("digits/mono-forward", [], 0.01),
    "batch norm": (
        "digits/channel",
        ["network=[{kind: conv-norm, channels: 20, stride: 2}, {kind: conv-norm, channels: 20}]"],
        0.1,
    ),
    "blocks that do not read each other": (
        "digits/noprop",
        [
            "network.0.steps=3",
            "network.0.image=[{kind: dense, units: 8}]",
            "network.0.layer={kind: dense, units: 20}",
        ],
        0.1,
    ),
}
# digits has 1,293 training samples: of batches of 68 the last has one, so that a replica has none
TUNED = {
    "single": ([], 20, "32-true", 1e-6),
    "double, uneven, accumulated": (["data.batch_size=68", "trainer.accumulate=3"], 20, "64-true", 1e-12),
}


@pytest.mark.parametrize(("options", "steps", "precision", "most"), TUNED.values(), ids=TUNED)
@pytest.mark.parametrize(("recipe", "overrides", "lr"), GRID.values(), ids=GRID)
def test_a_grid_makes_the_same_steps_as_one_process(
    four, work, recipe, overrides, lr, options, steps, precision, most
):
    arguments = [*overrides, *options, f"trainer.precision={precision}", f"optimizer={{kind: sgd, lr: {lr}}}"]
    one = work.learned(recipe, arguments, steps)
    ranks = four("learned", recipe, arguments, steps, pipeline={"stages": 2})
    start = work.learned(recipe, arguments, steps=0)
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-4
    for name, value in one.items():
        assert all(torch.equal(ranks[0][name], other[name]) for other in ranks[1:]), f"{name} differs"
        difference = (ranks[0][name] - value).abs() / value.abs().clamp(min=1)
        assert float(difference.max()) <= most, name
