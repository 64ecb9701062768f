"""Steps, epochs and evaluation, compared with the same in NumPy."""

import json

import numpy as np
import pytest

from ffcore.edge import EdgeError, Learner, StoppedError, load
from ffcore.edge.random import batch_numbers, order
from tests.edge.bundles import NOISE, SLOW, D, H, K, by_hand, data, edit, scores_by_hand, weights


def close(a, b):
    assert set(a) == set(b)
    for name in b:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("per_block", [False, True])
@pytest.mark.parametrize("keep_sessions", [False, True])
def test_steps_are_those_worked_by_hand(make_learner, states, samples, per_block, keep_sessions):
    learner = make_learner(per_block=per_block, keep_sessions=keep_sessions)
    x, y = samples
    state = weights()
    for step in range(4):
        noise = batch_numbers(1, step, "noise", 0, "uniform", (8, D))
        state, right = by_hand(state, x[:8], y[:8], 1.0, noise)
        close(learner.step(x[:8], y[:8]), right)
        close(states(learner), state)
    assert learner.progress.steps == 4


def test_a_graph_reads_states_from_before_the_step(make_bundle, states, samples):
    """As the second block of a network whose first block learns from the second one's weights."""
    x, y = samples
    path = make_bundle(per_block=True)
    phases = json.loads((path / "bundle.json").read_text())["phases"]
    one, two = phases[0]["graphs"]
    again = {**one, "outputs": ["loss/first", "cut/h"]}
    edit(path, phases=[{**phases[0], "graphs": [one, again, two]}])
    learner = Learner(load(path))
    noise = np.zeros((8, D), np.float32)
    for _ in range(2):
        right = by_hand(states(learner), x[:8], y[:8])
        close(learner.step(x[:8], y[:8], draws={NOISE: noise}), right[1])
        close(states(learner), right[0])


def test_given_random_numbers_replace_the_learners_own(make_learner, states, samples):
    x, y = samples
    learner = make_learner()
    new, _ = by_hand(weights(), x[:5], y[:5])
    learner.step(x[:5], y[:5], draws={NOISE: np.zeros((5, D), np.float32)})
    close(states(learner), new)
    with pytest.raises(EdgeError, match=r"noise/0: should be float32 \(5, 6\), not int64 \(5,\)"):
        learner.step(x[:5], y[:5], draws={NOISE: np.zeros(5, np.int64)})


def test_an_epoch_takes_ffcores_order_and_a_smaller_last_batch(make_learner, states):
    x, y = data(21)
    learner = make_learner(seed=7)
    (result,) = learner.learn(x, y, epochs=1)
    state, losses = weights(), []
    rows = order(7, 0, 21)
    for step, batch in enumerate((rows[:8], rows[8:16], rows[16:])):
        noise = batch_numbers(7, step, "noise", 0, "uniform", (len(batch), D))
        state, loss = by_hand(state, x[batch], y[batch], 1.0, noise)
        losses.append(loss)
    close(states(learner), state)
    close(result.losses, {k: np.average([e[k] for e in losses], weights=[8, 8, 5]) for k in losses[0]})
    assert (result.epoch, result.samples, result.dropped) == (0, 21, 0)
    assert (learner.progress.epoch, learner.progress.steps, learner.progress.position) == (1, 3, 0)


def test_learning_rates_are_interpolated_within_an_epoch_and_stay_after_the_last(make_learner, states):
    rates = [[1 - j / 16 for j in range(17)], [0.5] * 16 + [0.25]]
    learner = make_learner(rates=rates)
    about = learner.bundle.about
    assert [about.rate(e) for e in (0, 1 / 32, 0.5, 1, 1 + 31 / 32, 2, 9.5)] == pytest.approx(
        [1, 1 - 1 / 32, 0.5, 0.5, 0.375, 0.25, 0.25]
    )
    x, y = data(6)
    noise = np.zeros((6, D), np.float32)
    learner.step(x, y, epoch=0.75, draws={NOISE: noise})
    close(states(learner), by_hand(weights(), x, y, 0.25)[0])


def test_a_phase_runs_its_own_graphs(make_bundle, states, samples):
    path = make_bundle(per_block=True)
    phases = json.loads((path / "bundle.json").read_text())["phases"]
    only_first = {"first": 1, "last": 2, "graphs": phases[0]["graphs"][:1]}
    edit(path, phases=[{**phases[0], "last": 1}, only_first])
    learner = Learner(load(path))
    x, y = samples
    assert set(learner.step(x, y, epoch=0)) == {"first", "out"}
    assert set(learner.step(x, y, epoch=1)) == {"first"}
    assert set(learner.step(x, y, epoch=5)) == {"first"}, "after the last epoch"


def test_stored_values_become_inputs_as_in_the_loader(make_learner, samples):
    torch = pytest.importorskip("torch")
    from ffcore.data.images import Split
    from ffcore.data.loader import DeviceLoader

    stored = {"scale": 1 / 255, "mean": [0.1307], "std": [0.3081]}
    learner = make_learner(stored=stored)
    x = np.random.default_rng(0).integers(0, 256, (40, 1, 2, 3)).astype(np.uint8)
    loader = DeviceLoader(Split(x, np.zeros(40, np.int64)), batch_size=40, shuffle=False, **stored)
    (batch,) = loader
    assert torch.equal(torch.from_numpy(learner.inputs.x(x)), batch.x)


def test_scores_predictions_and_accuracy_are_those_of_the_current_weights(make_learner, states):
    learner = make_learner()
    x, y = data(21)
    np.testing.assert_allclose(learner.scores(x), scores_by_hand(weights(), x), rtol=1e-5, atol=1e-5)
    learner.learn(x, y, epochs=20)
    right = scores_by_hand(states(learner), x)
    np.testing.assert_allclose(learner.scores(x), right, rtol=1e-5, atol=1e-5)
    assert np.array_equal(learner.predict(x), right.argmax(1))
    assert learner.evaluate(x, y) == (right.argmax(1) == y).mean() > 0.8


def test_labels_are_positive_scores_and_values_have_a_squared_error(make_bundle):
    x, _ = data(10)
    right = scores_by_hand(weights(), x)
    labels = Learner(load(make_bundle("a", target="labels", golden=None)))
    assert np.array_equal(labels.predict(x), right > 0)
    y = (right > 0).astype(np.float32)
    y[0, 0] = 1 - y[0, 0]
    assert labels.evaluate(x, y) == pytest.approx(1 - 1 / 30)
    values = Learner(load(make_bundle("b", target="values", golden=None)))
    assert values.evaluate(x, right + 2) == pytest.approx(4, rel=1e-5)


def test_batches_of_fixed_size_drop_the_rest_and_pad_when_they_predict(make_learner):
    learner = make_learner(rows=8)
    x, y = data(21)
    (result,) = learner.learn(x, y, epochs=1)
    assert (result.samples, result.dropped, learner.progress.steps) == (16, 5, 2)
    made = learner.scores(x)
    assert made.shape == (21, K)
    np.testing.assert_array_equal(made[16:], learner.scores(x[16:]))
    with pytest.raises(EdgeError, match="batches of 8 samples, not 5"):
        learner.step(x[:5], y[:5])
    with pytest.raises(EdgeError, match="batches of 8, not 4"):
        learner.learn(x, y, epochs=1, batch_size=4)
    with pytest.raises(EdgeError, match="batches of 8 samples, but there are only 5"):
        learner.learn(x[:5], y[:5], epochs=1)
    assert learner.learn_from([(x[:8], y[:8]), (x[8:11], y[8:11])]).dropped == 3


def test_a_stream_is_one_epoch(make_learner, states, samples):
    x, y = samples
    one, other = make_learner(), make_learner(name="other")
    result = one.learn_from((x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8))
    for i in range(0, 40, 8):
        other.step(x[i : i + 8], y[i : i + 8])
    close(states(one), states(other))
    assert (result.samples, one.progress.epoch) == (40, 1)
    with pytest.raises(EdgeError, match="no batches"):
        one.learn_from([])


def test_an_epoch_begun_with_other_data_is_not_continued(make_learner, samples):
    x, y = samples
    learner = make_learner()

    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        learner.learn(x, y, epochs=1, on_batch=stop)
    with pytest.raises(EdgeError, match="epoch 0 was begun with 40 samples in batches of 8; give the same"):
        learner.learn(x[:30], y[:30], epochs=1)
    learner.end_epoch()
    learner.learn(x[:30], y[:30], epochs=1)


def test_weights_in_closed_form_are_those_of_ridge_regression(make_learner, states):
    learner = make_learner(closed=True, per_block=True)
    x, y = data(21)
    initial = weights(closed=True)
    hidden, rows = [], order(1, 0, 21)
    w1 = initial["first.weight"]
    for step, batch in enumerate((rows[:8], rows[8:16], rows[16:])):
        noise = batch_numbers(1, step, "noise", 0, "uniform", (len(batch), D))
        flat = x[batch].reshape(len(batch), -1) + 0.1 * noise
        hidden.append(flat @ w1.T)
        w1 = w1 - SLOW * 2 / hidden[-1].size * hidden[-1].T @ flat
    h = np.hstack([np.concatenate(hidden), np.ones((21, 1))])
    right = np.linalg.solve(h.T @ h + np.eye(H + 1), h.T @ (2 * np.eye(K)[y[rows]] - 1))
    learner.learn(x, y, epochs=1)
    made = states(learner)
    np.testing.assert_allclose(made["out.weight"], right[:-1].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(made["out.bias"], right[-1], rtol=1e-4, atol=1e-5)
    assert not any(made[f"sums/out/{s}"].any() for s in ("a", "b", "count"))
    assert made["sums/out/count"].dtype == np.int64


@pytest.mark.parametrize("broken", ["singular", "few"])
def test_singular_sums_leave_the_weights(make_bundle, states, broken):
    path = make_bundle(closed=True)
    about = json.loads((path / "bundle.json").read_text())
    about["solutions"]["out"]["strength"] = 0.0
    edit(path, solutions=about["solutions"])
    learner = Learner(load(path))
    n = 20 if broken == "singular" else 3
    learner.replace("first.weight", np.zeros((H, D)))
    x, y = data(n)
    learner.step(x, y)
    before = states(learner)
    with pytest.raises(StoppedError, match=r"block out: (the sums are singular|3 rows do not determine 5)"):
        learner.end_epoch()
    assert learner.progress.epoch == 0
    for name, array in states(learner).items():
        assert np.array_equal(array, before[name])


def test_a_loss_that_is_not_finite_keeps_that_graphs_weights(make_learner, states, samples):
    x, y = samples
    learner = make_learner(per_block=True)
    learner.replace("out.bias", [3e38, -3e38, 0])
    learner.replace("out.weight", np.full((K, H), 3e38))
    before = states(learner)
    with pytest.raises(
        StoppedError, match=r"step 0: block out: the loss is (nan|inf); the old state of block out"
    ):
        learner.step(x, y)
    after = states(learner)
    assert np.array_equal(after["out.weight"], before["out.weight"])
    assert not np.array_equal(after["first.weight"], before["first.weight"]), "an earlier graph"
    assert learner.progress.steps == 0


def test_new_weights_that_are_not_finite_are_not_adopted(make_learner, states, samples):
    x, y = samples
    learner = make_learner(rates=[[3e38] * 17])
    learner.replace("first.weight", weights()["first.weight"] * 100)
    with pytest.raises(
        StoppedError, match=r"step 0: the new first.weight is not finite; the old state of all"
    ):
        learner.step(x, y)
    assert np.array_equal(learner.value("first.weight"), weights()["first.weight"] * 100)


def test_a_scheduled_state_has_the_value_of_its_epoch(make_learner, samples):
    x, y = samples
    learner = make_learner(scheduled={"out.bias": [0.0, 1.0]}, rates=[[0.0] * 17] * 8)
    for epoch, right in ((0, 0), (1, 1), (7, 1)):
        learner.step(x, y, epoch=epoch)
        assert (learner.value("out.bias") == right).all()


def test_a_schedule_that_has_ended_at_zero_is_refused_but_not_a_constant_rate(make_bundle, samples):
    path = make_bundle(rates=[[1.0] * 16 + [0.0]])
    learner = Learner(load(path))
    learner.learn(*samples, epochs=1)
    before = learner.value("out.weight")
    with pytest.raises(EdgeError, match=r"end with epoch 1, at 0 of their start; give a constant rate"):
        learner.learn(*samples, epochs=1)
    assert (learner.value("out.weight") == before).all()
    other = Learner(load(path), rate=0.5)
    other.learn(*samples, epochs=2)
    assert other.progress.epoch == 2
    with pytest.raises(EdgeError, match="rate: should be a number above 0, not 0"):
        Learner(load(path), rate=0)


def test_a_bundle_that_predicts_only_does_not_learn(make_bundle, samples):
    learner = Learner(load(make_bundle(phases=[], random=[])))
    assert learner.scores(samples[0]).shape == (40, K)
    with pytest.raises(EdgeError, match="predicts only"):
        learner.learn(*samples, epochs=1)
