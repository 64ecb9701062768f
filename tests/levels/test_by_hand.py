"""One step by hand: what each block made, lost and changed, without a trainer."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Progress


def batch(n=20):
    data = load_digits()
    x = torch.tensor(data.images[:n], dtype=torch.float32).unsqueeze(1) / 16
    return x, torch.tensor(data.target[:n])


def from_recipe(name="digits/ff", **overrides):
    return ffcore.from_recipe(name, shape=(1, 8, 8), classes=10, **overrides)


@pytest.mark.parametrize("name", ["digits/ff", "digits/channel", "digits/ff-recurrent", "digits/backprop"])
def test_it_is_the_step_of_a_loop_to_the_bit(name):
    net = from_recipe(name)
    twin = copy.deepcopy(net)
    losses = twin.learn(*batch())
    steps = ffcore.one_step(net, *batch())
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    for block, loss in losses.items():
        mine = [sum(step.losses.values()) for step in steps if step.block == block]
        torch.testing.assert_close(sum(mine) / len(mine), loss)


def test_every_block_shows_rows_of_both_views_and_what_moved():
    net = from_recipe(optimizer={"kind": "sgd", "lr": 0.1})
    steps = [s for s in ffcore.one_step(net, *batch()) if s.block == "dense2"]
    (step,) = steps
    assert step.activity.shape[0] == 40
    assert step.of(step.goodness, "positive").shape == (20,)
    assert set(step.gradients) == {"body.linear.weight", "body.linear.bias"}
    for name, gradient in step.gradients.items():
        torch.testing.assert_close(step.after[name], step.before[name] - 0.1 * gradient)
    torch.testing.assert_close(step.goodness, step.activity.square().sum(1))
    assert repr(step).startswith("BlockStep('dense2', call 0; views positive 20, negative 20; activity (40, ")


def test_each_call_of_a_circuits_block_is_shown():
    steps = ffcore.one_step(from_recipe("digits/ff-recurrent"), *batch())
    calls = [step.call for step in steps if step.block == "layer1"]
    assert calls == list(range(8))
    assert not torch.equal(
        *(s.before["body.below.weight"] for s in steps if s.block == "layer1" and s.call < 2)
    )


def test_negatives_may_be_given():
    x, y = batch()
    hypotheses = (y + 3) % 10
    net = from_recipe()
    one, other = (ffcore.one_step(copy.deepcopy(net), x, y, negatives=(x, hypotheses)) for _ in range(2))
    assert torch.equal(one[0].goodness, other[0].goodness)
    (rows,) = one[0].inputs
    labels = one[0].of(rows, "negative").flatten(1)[:, :10].argmax(1)
    assert torch.equal(labels, hypotheses)
    with pytest.raises(UserError, match="learns without negative data"):
        ffcore.one_step(from_recipe("digits/channel"), x, y, negatives=(x, hypotheses))
    with pytest.raises(
        UserError,
        match=r"negatives: the samples are a tensor \(3, 1, 8, 8\) .* the batch is a tensor \(20, 1, 8, 8\)",
    ):
        ffcore.one_step(net, x, y, negatives=(x[:3], hypotheses[:3]))


def test_the_epoch_decides_which_blocks_learn():
    net = from_recipe("digits/ff-greedy")
    epochs = 60
    learned = {
        epoch: {
            s.block for s in ffcore.one_step(net, *batch(), progress=Progress(epoch, 0, epochs)) if s.losses
        }
        for epoch in (0, epochs - 1)
    }
    assert learned[0] != learned[epochs - 1]


def test_a_network_of_a_recipe_has_its_precision():
    assert next(from_recipe(trainer={"precision": "64-true"}).parameters()).dtype == torch.float64
    mixed = from_recipe(trainer={"precision": "bf16-mixed"})
    step = ffcore.one_step(mixed, *batch())[1]
    assert step.activity.dtype == torch.bfloat16
    assert mixed.predict(batch()[0]).shape == (20,)


def test_a_shape_that_only_the_data_know_is_asked_for(tmp_path):
    with pytest.raises(UserError, match="shape, classes: give both"):
        ffcore.from_recipe("digits/ff", data={"kind": "arrays", "path": str(tmp_path / "x.npz")})


def test_activities_are_those_of_the_blocks_in_evaluation(tmp_path):
    short = {"trainer.max_epochs": 1}
    run = ffcore.train("digits/ff-unsupervised", run_dir=tmp_path / "run", report=False, **short)
    x = np.random.default_rng(0).integers(17, size=(30, 1, 8, 8)).astype(np.uint8)
    predictor = run.predictor()
    made = predictor.activities(x)
    assert {name: h.shape for name, h in made.items()} == {f"dense{k}": (30, 500) for k in (1, 2, 3)}
    first = predictor.module.network.blocks[0]
    inputs = predictor.module.algorithm.neutral(torch.tensor(x / 16, dtype=torch.float32)).x
    np.testing.assert_allclose(made["dense1"], first.body(inputs).detach(), rtol=1e-4, atol=1e-5)
    alone = ffcore.activities(predictor.module.net, torch.tensor(x / 16, dtype=torch.float32))
    np.testing.assert_allclose(made["dense3"], alone["dense3"], rtol=1e-4, atol=1e-5)
