"""What a bundle knows of training: spans of a schedule, values that change with the epoch, learning rates."""

from __future__ import annotations

import pytest

import ffcore
from ffcore.errors import UserError
from ffcore.exports import Training
from ffcore.exports.training import Span, rates, scheduled, spans
from tests.exports.conftest import CLASSES, SHAPE, network


def scheduled_by(kind: str) -> ffcore.Network:
    return ffcore.from_recipe(
        "digits/ff",
        shape=SHAPE,
        classes=CLASSES,
        network=[{"kind": "dense", "units": 20, "repeat": 3}],
        schedule={"kind": kind},
    )


def test_epochs_of_the_same_windows_are_one_span() -> None:
    net = scheduled_by("greedy")
    assert spans(net.schedule, net, 6) == [Span(0, 2), Span(2, 4), Span(4, 6)]


def test_windows_that_take_turns_are_a_span_each() -> None:
    net = scheduled_by("overlapping")
    assert spans(net.schedule, net, 2) == [Span(0, 2, 0, 2), Span(0, 2, 1, 2)]


def test_too_few_epochs_for_a_schedule_are_refused() -> None:
    net = scheduled_by("greedy")
    with pytest.raises(UserError, match="3 blocks need 3 epochs"):
        spans(net.schedule, net, 2)


def test_values_that_change_with_the_epoch_are_listed() -> None:
    net = network("channel classes")
    found = scheduled(net, 3)
    assert found
    assert all(len(values) == 3 for values in found.values())
    assert found.keys() <= net.state_dict().keys()


def test_learning_rates_of_a_schedule_are_sampled() -> None:
    made = rates(Training(epochs=2, rate=lambda epoch, epochs: 1 - epoch / epochs))
    assert made is not None
    assert [len(of_epoch) for of_epoch in made] == [17, 17]
    assert made[0][:2] == [1, 1 - 1 / 32]
    assert made[1][-1] == pytest.approx(0, abs=1e-6)
    assert rates(Training(epochs=2, rate=lambda epoch, epochs: 1.0)) is None


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"training.rate: should return finite numbers"):
        rates(Training(rate=lambda epoch, epochs: float("nan")))


@pytest.mark.parametrize("name", ["epochs", "batch_size"])
def test_counts_of_training_are_checked(name: str) -> None:
    with pytest.raises(UserError, match=f"training.{name}: should be a positive integer, not 0"):
        Training(**{name: 0})  # type: ignore[arg-type]
