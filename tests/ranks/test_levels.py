"""Pipelines in a Lightning trainer of the user: own loaders and callbacks, failures."""

import pytest
import torch

from ffcore.errors import UserError


def test_loaders_of_torch_give_the_weights_and_accuracy_of_one_process(pool, levels):
    accuracy, weights = levels.measured(samplers=False)
    assert accuracy > 0.5
    for own, of_rank in pool("measured", samplers=False):
        assert own == pytest.approx(accuracy)
        for name, value in weights.items():
            torch.testing.assert_close(of_rank[name], value)


def test_a_callback_on_one_rank_makes_all_ranks_hold_all_blocks(pool, levels):
    accuracy, weights = levels.measured(samplers=False)
    for own, of_rank in pool("watched"):
        assert own == pytest.approx(accuracy)
        for name, value in weights.items():
            torch.testing.assert_close(of_rank[name], value)


def test_ranks_that_hold_all_blocks_have_the_same_weights_after_an_end_within_an_epoch(pool, levels):
    weights = levels.stopped()
    for of_rank in pool("stopped"):
        for name, value in weights.items():
            torch.testing.assert_close(of_rank[name], value)


def test_samplers_of_lightning_give_all_ranks_of_a_line_the_same_samples(pool):
    (one, weights), (other, others) = pool("measured", samplers=True)
    assert one == other > 0.5
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_the_division_refers_to_the_buffers_also_after_they_have_moved(pool, levels):
    buffers, classes, _ = levels.moved()
    for of_rank, predicted, order in pool("moved"):
        assert order
        assert all(order)
        assert torch.equal(predicted, classes)
        for name, value in buffers.items():
            torch.testing.assert_close(of_rank[name], value)


def test_averages_of_weights_that_other_ranks_learn_are_refused(pool):
    assert all("a pipeline learns blocks on other ranks" in error for error in pool("averaged"))


def test_a_training_without_a_step_leaves_the_network_as_it_was(pool):
    for before, after, failure in pool("skipped"):
        assert torch.equal(before, after)
        assert "a batch should be a pair" in failure


def test_different_batches_on_the_ranks_of_a_line_are_an_error(pool):
    for error in pool("shuffled"):
        assert isinstance(error, UserError)
        assert "different batches" in str(error)


def test_a_prediction_during_training_says_that_blocks_are_on_other_ranks(pool):
    for errors in pool("predicted"):
        assert len(errors) == 3  # in the sanity check, and after two epochs
        assert all("holds only its own blocks" in error for error in errors)


@pytest.mark.parametrize(
    ("recipe", "units"),
    [("digits/ff-unsupervised", "20"), ("digits/ff-recurrent", "[10, 10]")],
)
def test_a_test_goes_from_rank_to_rank_and_leaves_the_whole_network(pool, levels, recipe, units):
    overrides = [f"network.0.units={units}"]
    accuracies, errors, classes = levels.tested(recipe, overrides)
    assert errors == ["a test failed"]
    for rank in pool("tested", recipe, overrides):
        assert rank[0] == pytest.approx(accuracies)
        assert "holds only its own blocks" in rank[1][0]
        assert rank[1][-1] == "a test failed"
        assert torch.equal(rank[2], classes)


def test_batches_of_a_test_may_be_larger_than_those_of_learning(pool, levels):
    given = "digits/ff-unsupervised", ["network.0.units=20"]
    accuracy = levels.tested_in_large_batches(*given)
    assert pool("tested_in_large_batches", *given) == pytest.approx([accuracy] * 2)


def test_a_network_whose_training_failed_says_so_until_weights_are_loaded(pool):
    for first, *later, classes in pool("failed"):
        assert first == "a step failed" or "another rank has ended" in first
        assert len(later) == 3  # a prediction, and trainings without and with validation
        assert all("the training of this network has failed" in each for each in later)
        assert all("or make a new network" in each for each in later)
        assert classes == [0, 0, 0]


def test_a_circuit_on_several_ranks_is_used_neither_during_training_nor_after_a_failure(pool):
    for during, after in pool("reconstructed"):
        assert "holds only its own blocks" in during
        assert "training of this network has failed" in after


def test_a_placeholder_batch_gives_no_parameter_a_gradient(pool):
    assert pool("placeholder") == [[1.0, 1.0]] * 2


@pytest.mark.parametrize(
    ("recipe", "units", "pipeline"),
    [("digits/pff", "[10, 10]", {}), ("digits/ff", "20", None)],
    ids=["turns", "sums of gradients"],
)
def test_a_rank_does_not_wait_for_one_that_has_failed(pool, recipe, units, pipeline):
    given = recipe, [f"network.0.units={units}"], pipeline
    assert pool("failed_alone", *given) == [["LostError", "ValueError"]] * 2


@pytest.mark.parametrize(("recipe", "units"), [("digits/ff", "20"), ("digits/ff-recurrent", "[10, 10]")])
def test_a_network_is_copied_while_it_learns_if_the_rank_holds_all_of_it(pool, recipe, units):
    overrides = [f"network.0.units={units}"]
    for seen in pool("copied", recipe, overrides, {"hold": "all"}):
        assert seen == [(3,)]
    for seen in pool("copied", recipe, overrides, {}):
        assert "neither run nor copy the network" in seen[0]
