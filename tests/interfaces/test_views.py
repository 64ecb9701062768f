import pytest
import torch

from ffcore.interfaces import LabelledInput, Views


def views():
    return Views(torch.arange(10.0).view(5, 2), ("positive", "negative", "neutral"), (2, 2, 1))


@pytest.mark.parametrize(("role", "rows"), [("positive", [0, 1]), ("negative", [2, 3]), ("neutral", [4])])
def test_rows_of_a_role(role, rows):
    assert views().of(torch.arange(5), role).tolist() == rows


def test_rows_are_a_view_of_the_memory():
    t = torch.zeros(5)
    views().of(t, "negative").fill_(1)
    assert t.tolist() == [0, 0, 1, 1, 0]


def test_an_unknown_role_lists_the_known_roles():
    with pytest.raises(KeyError, match="no view 'other' in this pass; there are positive, negative, neutral"):
        views().of(torch.arange(5), "other")


def test_samples_are_the_rows_of_the_first_view():
    assert views().samples == 2


@pytest.mark.parametrize(("roles", "sizes"), [(("a",), (4,)), (("a", "b"), (5,)), ((), ())])
def test_views_add_up_to_the_rows(roles, sizes):
    with pytest.raises(ValueError, match="do not add up to 5 rows"):
        Views(torch.zeros(5, 2), roles, sizes)


def test_a_labelled_input_by_hand():
    base = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]])
    joined = LabelledInput(base, torch.tensor([[3.0, 4.0], [5.0, 6.0]]), torch.tensor([[1.0], [10.0]]))
    assert joined.shape == (2, 2, 2)
    assert joined.dense().tolist() == [[[3, 4], [1, 2]], [[50, 60], [10, 20]]]
    assert base.tolist() == [[[0, 0], [1, 2]]]


def test_without_a_scale_rows_are_unchanged():
    joined = LabelledInput(torch.tensor([[0.0, 7.0]]), torch.tensor([[3.0]]))
    assert joined.dense().tolist() == [[3, 7]]


def test_codes_repeat_over_the_samples():
    with pytest.raises(ValueError, match="3 codes do not repeat over 2 samples"):
        LabelledInput(torch.zeros(2, 4), torch.zeros(3, 2))
