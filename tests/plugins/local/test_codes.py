"""Target codes, feedback alignment and their objective."""

import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context, Views
from ffcore_local.codes import Likelihood, TargetCodes, codes


def bound(shape=(4,), classes=3, **options):
    made = TargetCodes(**options)
    made.setup(Context(shape, classes, name="dense1"))
    return made


def test_codes_are_different_bits():
    made = codes(10, 8)
    assert made.shape == (10, 8)
    assert set(made.flatten().tolist()) == {0.0, 1.0}
    assert len(made.unique(dim=0)) == 10


def test_too_few_bits_are_refused():
    with pytest.raises(ValueError, match="block dense1: bits: 1 random bits are too few for 3 classes"):
        bound(bits=1)


def test_goodness_is_minus_the_binary_cross_entropy_with_each_code():
    goodness = bound(bits=8, feedback=False)
    x = torch.randn(5, 4)
    o = goodness.decoder(x)
    for k, code in enumerate(goodness.codes):
        wrong = F.binary_cross_entropy_with_logits(o, code.expand_as(o), reduction="none").sum(1)
        torch.testing.assert_close(goodness(x)[:, k], -wrong)


@pytest.mark.parametrize("feedback", [True, False])
def test_gradients_of_the_decoder_are_true_and_that_of_the_activity_is_fed_back(feedback):
    goodness = bound(bits=8, feedback=feedback)
    x = torch.randn(5, 4, requires_grad=True)
    y = torch.tensor([0, 2, 1, 1, 0])
    loss = Likelihood()(goodness(x), Views(x, ("all",), (5,), y=y))
    made = torch.autograd.grad(loss, [x, goodness.decoder.weight, goodness.decoder.bias])
    o = goodness.decoder(x).detach()
    up = (torch.sigmoid(o) - goodness.codes[y]) / 5
    back = goodness.feedback if feedback else goodness.decoder.weight
    for gradient, right in zip(made, [up @ back, up.T @ x, up.sum(0)], strict=True):
        torch.testing.assert_close(gradient, right)


def test_the_feedback_matrix_is_stored_and_does_not_learn():
    goodness = bound(bits=8)
    assert {"codes", "feedback"} <= goodness.state_dict().keys()
    assert {name for name, _ in goodness.named_parameters()} == {"decoder.weight", "decoder.bias"}
    assert not torch.equal(goodness.feedback, goodness.decoder.weight)


def test_autocast_gives_the_same_gradients():
    goodness = bound(bits=8)
    x = torch.randn(5, 4, requires_grad=True)
    (right,) = torch.autograd.grad(goodness(x)[:, 0].sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        made = goodness(x)
    torch.testing.assert_close(torch.autograd.grad(made[:, 0].sum(), x)[0], right)


def test_likelihood_is_minus_the_mean_goodness_of_the_true_class():
    goodness = torch.tensor([[-1.0, -2.0], [-3.0, -4.0], [-50.0, -60.0]], requires_grad=True)
    y = torch.tensor([1, 0])
    views = Views(torch.zeros(3, 1), ("a", "b"), (2, 1), y=y, hypothesis=torch.tensor([1, 0, 0]))
    objective = Likelihood(weight=0.5)
    loss, up = objective.with_derivative(goodness, views)
    assert loss.item() == pytest.approx(0.5 * (2 + 3) / 2)
    torch.testing.assert_close(up, torch.autograd.grad(loss, goodness)[0])
