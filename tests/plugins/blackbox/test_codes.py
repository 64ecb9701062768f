"""Codes without a gradient."""

import pytest
import torch

from ffcore.interfaces import Context
from ffcore_blackbox.codes import LookUp, Quantise, Sign, Step, WinnerTakeAll

X = torch.tensor([[0.0, 0.4, 0.6, 1.0], [1.0, 1.0, 0.2, 0.9]])


def test_signs_and_steps_are_of_the_distance_to_the_threshold():
    assert Sign(0.4)(X)[0].tolist() == [-1, 0, 1, 1]
    assert Step(0.4)(X)[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(("bits", "right"), [(1, [0, 0, 3, 3]), (2, [0, 1, 2, 3])])
def test_a_quantiser_has_so_many_values_in_the_range_that_it_saw(bits, right):
    box = Quantise(bits)
    box.fit([torch.tensor([[0.0, 3.0]]), torch.tensor([[1.0, 2.0]])])
    torch.testing.assert_close(box(torch.tensor([[0.0, 1.2, 1.8, 9.0]])), torch.tensor([right]).float())


def test_of_equal_units_the_first_one_wins():
    assert WinnerTakeAll(4, 1)(X).tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert WinnerTakeAll(2, 1)(X)[0].tolist() == [0, 1, 0, 1]
    assert WinnerTakeAll(4, 2)(X)[1].tolist() == [1, 1, 0, 0]


def test_a_group_has_to_divide_the_units():
    with pytest.raises(ValueError, match="group: 3 does not divide 4 units"):
        WinnerTakeAll(3).setup(Context((4,), 2))


def test_a_table_is_looked_up_by_bin():
    assert LookUp([5.0, 7.0], [0.5])(X)[0].tolist() == [5, 5, 7, 7]
    fitted = LookUp([0.0, 1.0, 2.0, 3.0])
    fitted.fit([torch.arange(100.0).view(10, 10)])
    assert fitted(torch.tensor([[0.0, 30.0, 60.0, 90.0]]))[0].tolist() == [0, 1, 2, 3]


def test_a_table_is_fitted_whatever_the_precision():
    torch.set_default_dtype(torch.float64)
    try:
        LookUp([0.0, 1.0, 2.0]).fit([torch.arange(9.0)])
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Quantise(0), "bits: 0"),
        (lambda: LookUp([1.0]), "table: needs at least 2"),
        (lambda: LookUp([1.0, 2.0], [3.0, 4.0]), "edges: should be 1 ascending"),
        (lambda: WinnerTakeAll(4, 5), "winners: 5"),
    ],
)
def test_invalid_options_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
