"""Prototypes of classes."""

import pytest
import torch

from ffcore.interfaces import Context
from ffcore_local.prototypes import Prototypes, simplex


def bound(shape, classes=3, **options):
    made = Prototypes(**options)
    made.setup(Context(shape, classes, name="dense1"))
    return made


@pytest.mark.parametrize(("classes", "features"), [(2, 1), (3, 2), (10, 9), (10, 200)])
def test_the_vertices_of_a_simplex_have_length_one_and_equal_angles(classes, features):
    p = simplex(classes, features)
    right = torch.full((classes, classes), -1 / (classes - 1)).fill_diagonal_(1.0)
    torch.testing.assert_close(p @ p.T, right, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(p.sum(0), torch.zeros(features), rtol=0, atol=1e-6)


def test_a_simplex_is_rotated_at_random():
    assert not torch.allclose(simplex(3, 8), simplex(3, 8))


def test_the_cosine_over_the_temperature():
    goodness = bound((2,), temperature=0.5)
    goodness.prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    torch.testing.assert_close(goodness(torch.tensor([[3.0, 4.0]])), torch.tensor([[1.2, 1.6, -1.2]]))


def test_the_distance_divided_by_features_and_temperature():
    goodness = bound((2,), metric="distance", temperature=0.5)
    p = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    goodness.prototypes = p
    h = torch.randn(6, 2)
    right = -(h.unsqueeze(1) - p).square().sum(2)
    torch.testing.assert_close(goodness(h), right)


def test_fixed_prototypes_have_no_parameters_and_learned_ones_do():
    assert not list(bound((4,)).parameters())
    assert "prototypes" in bound((4,)).state_dict()
    goodness = bound((4,), learned=True)
    goodness(torch.randn(5, 4))[:, 0].sum().backward()
    assert goodness.prototypes.grad.abs().sum() > 0


def test_a_silent_row_has_the_gradient_of_its_product_with_the_prototypes():
    """The cosine's own derivative is that times 1/‖f‖, which has no limit at 0."""
    goodness = bound((4,), temperature=0.5)
    h = torch.randn(3, 4)
    h[1] = 0
    h.requires_grad_()
    up = torch.randn(3, 3)
    made = goodness(h)
    made.backward(up)
    assert not made[1].any()
    p = goodness.prototypes
    torch.testing.assert_close(h.grad[1], up[1] @ p / 0.5)
    other = h.detach().requires_grad_()
    right = torch.cosine_similarity(other.unsqueeze(1), p, dim=2) / 0.5
    torch.testing.assert_close(made[::2], right[::2])
    right.backward(up)
    torch.testing.assert_close(h.grad[::2], other.grad[::2])


def test_images_are_pooled():
    goodness = bound((4, 6, 6), grid=1)
    x = torch.randn(5, 4, 6, 6)
    assert goodness.prototypes.shape == (3, 4)
    torch.testing.assert_close(goodness(x), bound_like(goodness, x.mean((2, 3))))


def bound_like(goodness, x):
    other = bound((4,))
    other.prototypes = goodness.prototypes
    return other(x)


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [
        ((8,), 10, "block dense1: a simplex of 10 prototypes needs 9 features or more, the activity has 8"),
        ((8,), 1, "block dense1: all samples are of one class"),
        ((7, 4), 3, "block dense1: .*set dim"),
    ],
)
def test_activities_that_do_not_fit_are_refused(shape, classes, message):
    with pytest.raises(ValueError, match=message):
        bound(shape, classes)


def test_random_directions_fit_any_number_of_features():
    p = bound((2,), classes=10, init="random").prototypes
    torch.testing.assert_close(p.norm(dim=1), torch.ones(10))
