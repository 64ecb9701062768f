import pytest
import torch

import ffcore
from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe

N, K, SHAPE = 8, 3, (1, 6, 6)
RECIPE = {
    "name": "test",
    "data": "digits",
    "algorithm": "forward-forward-unsupervised",
    "network": [{"kind": "dense", "units": 10, "repeat": 3}],
    "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
    "readouts": {"softmax": "softmax"},
}


def learned(y, **more):
    module = assemble(Recipe.model_validate({**RECIPE, **more}), SHAPE, K)
    module.configure_optimizers()
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(1))
    for step in range(3):
        module.algorithm.learn(Batch(x, y, torch.arange(N), 0, N, BatchRNG(1, step, 0, N, N)), module.network)
    return module, x


def test_no_label_reaches_the_blocks():
    one, _ = learned(torch.arange(N) % K)
    other, _ = learned(torch.zeros(N, dtype=torch.long))
    for mine, theirs in zip(one.network.blocks, other.network.blocks, strict=True):
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p, q)
    assert not torch.equal(
        one.network.learners["softmax"].body.linear.weight,
        other.network.learners["softmax"].body.linear.weight,
    )


def test_the_readout_is_the_only_evidence():
    module, x = learned(torch.arange(N) % K)
    assert [source.name for source in module.sources] == ["softmax"]
    (scores,) = module.algorithm.scores(x, module.network)
    right = module.network.read(module.algorithm.neutral(x))["softmax"]
    torch.testing.assert_close(scores, right)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"readouts": {}}, "add one under `readouts`"),
        (
            {"algorithm": {"kind": "forward-forward-unsupervised", "negatives": "wrong-label"}},
            "must be samples",
        ),
        ({"algorithm": {"kind": "forward-forward", "negatives": "hybrid"}}, "have no hypothesis"),
    ],
)
def test_invalid_recipes_are_refused_before_anything_is_built(more, message):
    with pytest.raises(UserError, match=message):
        assemble(Recipe.model_validate({**RECIPE, **more}), SHAPE, K)


def test_standardised_images_beside_another_set_that_is_not_are_refused(tmp_path):
    message = r"algorithm: other-data: its samples are in \[0, 1\], .* set data.standardise to false"
    with pytest.raises(UserError, match=message):
        ffcore.train(
            "digits/ff-unsupervised",
            run_dir=tmp_path / "run",
            data={"standardise": True},
            algorithm={"negatives": {"kind": "other-data", "dataset": "digits"}},
        )
    assert not (tmp_path / "run").exists()
