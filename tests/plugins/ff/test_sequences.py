import pytest
import torch

import ffcore
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.errors import UserError
from ffcore.interfaces import BatchRNG, Context
from ffcore.recipe.schema import Recipe
from ffcore.tasks import Classification
from ffcore_ff.sequences import Corrupted, Reordered

N, T, K = 200, 10, 3
X = torch.arange(N).unsqueeze(1) * 100 + torch.arange(T)  # row and position can be read off each value


def made(negative, x=X):
    negative.setup(Context(tuple(x.shape[1:]), K))
    samples, hypotheses = negative(x, None, lambda: None, BatchRNG(1, 0, 0, len(x), len(x)))
    assert hypotheses is None
    return samples


def test_corrupted_positions_come_from_the_same_position_of_other_samples():
    x = made(Corrupted(share=0.4))
    assert torch.equal(x % 100, X % 100)
    changed = x != X
    assert changed.any(1).all()
    assert 0.35 < changed.float().mean() < 0.45


@pytest.mark.parametrize("dim", [0, -1])
def test_a_sample_left_over_takes_from_its_other_positions(dim):
    negative = Corrupted(share=0.4, dim=dim)
    x = torch.stack([X[:1], -X[:1]], dim=2 if dim == 0 else 1)
    negative.setup(Context(tuple(x.shape[1:]), K))
    wrong, _ = negative(x, None, None, BatchRNG(1, 5, 0, 1, 1))
    first, second = wrong.unbind(2 if dim == 0 else 1)
    assert torch.equal(first, -second)  # positions are moved whole
    assert set(first[0].tolist()) <= set(X[0].tolist())
    changed = first != X[:1]
    assert 1 <= changed.sum() < T


def test_a_sample_left_over_keeps_its_padding():
    negative = Corrupted(share=1.0, padding=0)
    x = torch.tensor([[5, 6, 7, 8, 0, 0]])
    negative.setup(Context((6,), K))
    for step in range(9):
        wrong, _ = negative(x, None, None, BatchRNG(1, step, 0, 1, 1))
        assert torch.equal(wrong == 0, x == 0)


def test_one_position_changes_where_the_share_is_small():
    assert (made(Corrupted(share=1e-6)) != X).sum(1).tolist() == [1] * N


def test_reordered_samples_hold_the_same_tokens():
    x = made(Reordered())
    assert torch.equal(x.sort(1).values, X)
    assert (x != X).any(1).all()


@pytest.mark.parametrize("negative", [Corrupted(0.9, padding=0), Reordered(padding=0)])
def test_padding_stays_where_it_is(negative):
    x = X + 1
    x[:, 7:] = 0
    x[::2, :2] = 0
    changed = made(negative, x)
    assert torch.equal(changed == 0, x == 0)
    assert (changed != x).any(1).float().mean() > 0.9
    if isinstance(negative, Reordered):
        assert torch.equal(changed.sort(1).values, x.sort(1).values)
    with pytest.raises(ValueError, match=r"padding: is for samples of tokens \(T,\), not \(5, 2\)"):
        negative.setup(Context((5, 2), K))


@pytest.mark.parametrize("negative", [Corrupted, Reordered])
def test_vectors_are_moved_whole(negative):
    """A position of (T, D) or (D, T) keeps its D values together."""
    pairs = torch.stack([X, -X], dim=2)
    x = made(negative(dim=0), pairs)
    assert torch.equal(x[..., 0], -x[..., 1])
    assert torch.equal(made(negative(dim=-1), pairs.transpose(1, 2)), x.transpose(1, 2))


def test_samples_without_positions_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 5\) have no two positions along dimension 0"):
        Reordered().setup(Context((1, 5), K))


NETWORK = [{"kind": "embedding", "units": 16, "tokens": 16}, {"kind": "attention", "heads": 2}]
BLOCK = {"goodness": "mean-squares", "objective": "symba", "handoff": "rms"}


def test_forward_forward_learns_the_class_of_tokens_from_a_label_token():
    x = torch.randint(8, (600, 6), generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 3).long()
    recipe = Recipe.model_validate(
        {
            "name": "test",
            "data": "digits",
            "algorithm": {"kind": "forward-forward", "labels": {"kind": "token", "tokens": 8}},
            "network": NETWORK,
            "block": BLOCK,
            "contribution": "skip-first",
        }
    )
    module = assembled_for(recipe, Form((6,), Classification(2), "int64", largest=7))
    optimizers = ffcore.optimizers(module.net, torch.optim.Adam, lr=3e-3)
    for step in range(90):
        rows = slice(100 * (step % 5), 100 * (step % 5 + 1))
        module.net.learn(x[rows], y[rows], optimizers)
    assert (module.net.predict(x[500:]) == y[500:]).float().mean() > 0.9


def test_a_label_code_of_floats_refuses_tokens():
    recipe = Recipe.model_validate(
        {"name": "test", "data": "digits", "network": NETWORK, "block": BLOCK, "algorithm": "forward-forward"}
    )
    with pytest.raises(UserError, match=r"algorithm: labels are written into floats, not into torch.int64"):
        assembled_for(recipe, Form((6,), Classification(2), "int64", largest=7))
