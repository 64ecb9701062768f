from types import SimpleNamespace

import pytest
import torch

from ffcore.engine.meter import Meter
from ffcore.interfaces import Out, Views

BLOCK = SimpleNamespace(name="dense1", loss=object())
PAIR = Views(torch.zeros(4, 1), ("positive", "negative"), (2, 2))


def seen(meter, goodness, views=PAIR, block=BLOCK):
    meter(block, (), Out(views.x, views.x, goodness), views)


def test_means_of_losses_and_of_goodness_by_hand():
    meter = Meter(["dense1", "dense2"])
    for loss, penalty, goodness in ((1.0, 0.5, [1.0, 3.0, 0.0, 1.0]), (2.0, 0.1, [5.0, 7.0, 2.0, 1.0])):
        meter.record(BLOCK, {"objective": torch.tensor(loss), "peers": torch.tensor(penalty)}, 2)
        seen(meter, torch.tensor(goodness))
    # positives: means 2 and 6; negatives: 0.5 and 1.5
    right = {"loss": 1.5, "peers": 0.3, "positive": 4.0, "negative": 1.0, "separation": 3.0}
    assert meter.read() == {"dense1": pytest.approx(right)}


def test_means_are_over_samples_not_over_batches():
    meter = Meter(["dense1", "dense2"])
    for loss, samples in ((1.0, 3), (5.0, 1)):
        meter.record(BLOCK, {"objective": torch.tensor(loss)}, samples)
    assert meter.read() == {"dense1": {"loss": 2.0}}


def test_goodness_is_reported_by_role():
    meter = Meter(["dense1", "dense2"])
    seen(meter, torch.tensor([3.0, 3.0, 1.0, 1.0]), Views(torch.zeros(4, 1), ("near", "far"), (2, 2)))
    assert meter.read() == {"dense1": {"near": 3.0, "far": 1.0, "separation": 2.0}}


def test_reading_changes_nothing_and_reset_clears():
    meter = Meter(["dense1", "dense2"])
    meter.record(BLOCK, {"objective": torch.tensor(1.0)}, 2)
    assert meter.read() == meter.read() == {"dense1": {"loss": 1.0}}
    meter.reset()
    assert meter.read() == {}


def test_only_pairs_of_views_have_a_separation():
    meter = Meter(["dense1", "dense2"])
    meter.record(BLOCK, {"objective": torch.tensor(1.0)}, 2)
    seen(meter, torch.zeros(4), Views(torch.zeros(4, 1), ("all",), (4,)))
    seen(meter, torch.zeros(4, 3))
    seen(meter, None)
    assert meter.read() == {"dense1": {"loss": 1.0}}


def test_adding_does_not_change_the_terms():
    meter, term = Meter(["dense1", "dense2"]), torch.tensor(1.0)
    for _ in range(2):
        meter.record(BLOCK, {"objective": term}, 2)
    assert term == 1.0
