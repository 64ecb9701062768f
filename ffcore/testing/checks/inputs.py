"""Checks of label codes, negative data and augmentations.

N samples; V views; K classes; M length of a code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from ffcore.interfaces import (
    Augmentation,
    BatchRNG,
    Context,
    LabelCode,
    LabelledInput,
    NegativeData,
    Statistics,
    dense,
)
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, N, Placed, numbers

SHAPE = (1, 8, 8)  # that of scikit-learn's digits, for components that need a data set
TOKENS = (8,)
MANY = 400
CLASSES = (2, 3, 5, 10, 12)


def place_label(example: Example, seed: int = 0) -> Placed:
    """Set up a label code for small samples of K classes."""
    label = _label(example, seed)
    x = _samples(label, N)
    return Placed(label, lambda: dense(label.join(x, label.code(torch.arange(N) % K, N))))


def place_negative(example: Example, seed: int = 0) -> Placed:
    """Set up negative data for small images of K classes."""
    negative = _prepared(example.make(seed=seed), K)

    def use() -> Tensor:
        x, y = _drawn(negative, torch.arange(N) % K, K)
        return x if y is None else y

    return Placed(negative, use)


def place_augmentation(example: Example, seed: int = 0) -> Placed:
    """Set up an augmentation for small images."""
    augmentation, x = _augmentation(example, seed), _images(N)
    return Placed(augmentation, lambda: augmentation(x.clone(), BatchRNG(0, 0, 0, N, N)))


def _augmentation(example: Example, seed: int = 0) -> Augmentation:
    augmentation: Augmentation = example.make(seed=seed)
    x = _images(N)
    statistics = Statistics((N,) * K, float(x.min()), float(x.max()), (0.5,), (0.25,))
    augmentation.setup(Context(SHAPE, K, statistics=statistics))
    return augmentation


def check_augmentation_keeps_shape_and_rows(example: Example) -> None:
    """The result has the same shape and is finite, and the samples are not changed in place."""
    x = _images(N)
    before = x.clone()
    made = _augmentation(example)(x, BatchRNG(0, 0, 0, N, N))
    assert made.shape == x.shape, f"{tuple(x.shape)} becomes {tuple(made.shape)}"
    assert made.isfinite().all(), "a sample becomes infinite or NaN"
    assert_close(x, before, rtol=0, atol=0, msg="the given samples have changed")


def check_augmentation_draws_the_same_on_one_rank_and_two(example: Example) -> None:
    """A rank of two gets the same samples as one rank alone."""
    augmentation, x = _augmentation(example), _images(N)
    whole = augmentation(x, BatchRNG(1, 2, 0, N, N))
    # The second rank of two has the rows from index 2.
    share = augmentation(x[2:], BatchRNG(1, 2, 2, N - 2, N))
    assert_close(share, whole[2:], msg="samples differ between one rank and two")


def check_label_codes_have_one_row_a_sample(example: Example) -> None:
    """Codes have shape (n, M), with and without classes."""
    label = _label(example)
    code, neutral = label.code(torch.arange(N) % K, N), label.code(None, N)
    assert code.dim() == 2, f"codes are (n, M), these are {tuple(code.shape)}"
    assert len(code) == N, f"{len(code)} codes for {N} classes"
    assert code.shape == neutral.shape, "the neutral code differs in shape from those of classes"


def check_label_codes_differ_between_classes(example: Example) -> None:
    """No two classes have the same code."""
    codes = _label(example).code(torch.arange(K), K)
    apart = torch.cdist(codes, codes) + torch.eye(K)
    assert (apart > 1e-6).all(), "two classes have the same code"


def check_label_neutral_favours_no_class(example: Example) -> None:
    """The neutral code is the same for all rows, and equally far from all classes or their mean."""
    label = _label(example)
    neutral, codes = label.code(None, N), label.code(torch.arange(K), K)
    assert_close(neutral, neutral[:1].expand_as(neutral), msg="the neutral code differs between rows")
    away = (codes - neutral[:1]).norm(dim=1)
    even = torch.allclose(away, away.mean().expand(K), rtol=1e-4, atol=1e-6)
    assert even or torch.allclose(neutral[0], codes.mean(0), atol=1e-6), "the neutral code favours a class"


def check_label_join_gives_a_row_a_code(example: Example) -> None:
    """`join` returns V·N rows of the shape from `setup`, view by view, and does not work in place."""
    label, shape = _set_up(example)
    x, hypothesis = _samples(label, N), torch.arange(K).repeat_interleave(N)
    before, codes = x.clone(), label.code(hypothesis, K * N)
    joined = label.join(x, codes)
    assert tuple(joined.shape) == (K * N, *shape), f"joined to {tuple(joined.shape)}, not {(K * N, *shape)}"
    assert tuple(dense(joined).shape) == tuple(joined.shape), "dense() has another shape"
    assert_close(x, before, rtol=0, atol=0, msg="join changes its input")
    for k in range(K):
        alone = dense(label.join(x, codes[k * N : (k + 1) * N]))
        assert_close(dense(joined)[k * N : (k + 1) * N], alone, msg="a view depends on the other views")


def check_label_join_tells_classes_apart(example: Example) -> None:
    """The same sample with two labels gives two different inputs."""
    label = _label(example)
    rows = dense(label.join(_samples(label, 1), label.code(torch.arange(K), K))).flatten(1).float()
    assert (torch.cdist(rows, rows) + torch.eye(K) > 1e-6).all(), "two labels give the same input"


def check_label_base_leaves_room_for_the_code(example: Example) -> None:
    """The base of a `LabelledInput` is zero at the features of the code."""
    label = _label(example)
    codes = label.code(torch.arange(N) % K, N)
    joined = label.join(_samples(label, N), codes)
    if isinstance(joined, LabelledInput):
        room = joined.base.flatten(1)[:, : joined.code.shape[1]]
        assert not room.any(), "the base is not zero at the features of the code"


def check_negative_never_labels_a_sample_with_its_own_class(example: Example) -> None:
    """No hypothesis is the true class, for any number of classes and any distribution."""
    for classes in CLASSES:
        negative = _prepared(example.make(), classes)
        y = torch.arange(MANY) % classes
        # A readout that is certain of the true class.
        certain = torch.nn.functional.one_hot(y, classes).float()
        for seed in range(5):
            for probs in (None, certain):
                x, wrong = _drawn(negative, y, classes, seed, probs)
                assert x.shape[1:] == _shape(negative), f"negative samples are {tuple(x.shape)}"
                if wrong is not None:
                    assert wrong.shape == y.shape, f"hypotheses have shape {tuple(wrong.shape)}"
                    assert ((wrong >= 0) & (wrong < classes)).all(), "a hypothesis is not a class"
                    assert not (wrong == y).any(), f"of {classes} classes a sample is given its own"


def check_negative_reaches_every_wrong_class(example: Example) -> None:
    """With equal probabilities, all wrong classes occur for each class."""
    for classes in CLASSES:
        negative = _prepared(example.make(), classes)
        y = torch.arange(MANY * classes) % classes
        _, wrong = _drawn(negative, y, classes)
        if wrong is not None:
            seen = torch.zeros(classes, classes, dtype=torch.bool)
            seen[y, wrong] = True
            assert (seen | torch.eye(classes, dtype=torch.bool)).all(), "some wrong class never occurs"


def check_negative_draws_the_same_on_one_rank_and_two(example: Example) -> None:
    """A rank of two gets the same rows as one rank alone, unless samples are coupled."""
    negative = _prepared(example.make(), K)
    if negative.couples_samples:
        return
    x, y = _images(N, _shape(negative)), torch.arange(N) % K
    probs = numbers(N, K).softmax(1)
    whole = negative(x, y, lambda: probs, BatchRNG(1, 2, 0, N, N))
    for first, rows in ((0, 2), (2, N - 2)):
        own = slice(first, first + rows)
        rng = BatchRNG(1, 2, first, rows, N)
        share = negative(x[own], y[own], lambda own=own: probs[own], rng)
        assert_close(share[0], whole[0][own], msg="samples differ between one rank and two")
        if whole[1] is not None:
            assert_close(share[1], whole[1][own], msg="labels differ between one rank and two")


def check_negative_leaves_its_input_alone(example: Example) -> None:
    """The positive samples are not changed in place."""
    negative = _prepared(example.make(), K)
    x, y = _images(N, _shape(negative)), torch.arange(N) % K
    before = x.clone(), y.clone()
    negative(x, y, lambda: torch.full((N, K), 1 / K), BatchRNG(0, 0, 0, N, N))
    assert_close((x, y), before, rtol=0, atol=0, msg="the positive samples have changed")


def _label(example: Example, seed: int = 0) -> LabelCode:
    return _set_up(example, seed)[0]


def _set_up(example: Example, seed: int = 0) -> tuple[LabelCode, tuple[int, ...]]:
    """Return a label code and the shape of a labelled input."""
    label: LabelCode = example.make(seed=seed)
    shape: Any = label.setup(Context(TOKENS if label.reads_tokens else SHAPE, K))
    assert isinstance(shape, tuple), f"setup returns {shape!r}, not the shape of a labelled input"
    return label.eval(), shape


def _samples(label: LabelCode, n: int) -> Tensor:
    """Return samples that the label code reads: images, or tokens 0 … 9."""
    return (numbers(n, *TOKENS).abs() * 4).long() % 10 if label.reads_tokens else _images(n)


def _shape(negative: NegativeData) -> tuple[int, ...]:
    """Return the shape of the samples of a check: images, or the ``example_shape`` of the class."""
    return tuple(getattr(negative, "example_shape", SHAPE))


def _images(n: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return numbers(n, *shape).abs()


def _prepared(negative: Any, classes: int) -> NegativeData:
    assert isinstance(negative, NegativeData)
    negative.setup(Context(_shape(negative), classes))
    return negative


def _drawn(
    negative: NegativeData, y: Tensor, classes: int, seed: int = 0, probs: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    n = len(y)
    even = torch.full((n, classes), 1 / classes)
    made: tuple[Tensor, Tensor | None] = negative(
        _images(n, _shape(negative)), y, lambda: even if probs is None else probs, BatchRNG(seed, 0, 0, n, n)
    )
    return made
