"""The C form of a component, for `ffcore.exports.c99`: its formula as statements of C99 in float32.

A component that can be written in C has a method ``c99`` that returns one of these classes:

    body            Dense            h = f(W x + b)
    goodness        Energy           G = G(h) and ∂G/∂h_j
                    Logits           the activity has a value for each class
    objective       ContrastLoss     L(G⁺, G⁻), ∂L/∂G⁺ and ∂L/∂G⁻
    handoff         InPlace          z = z(h)
    label code      LabelWriter      the labelled input of a sample and a class
    algorithm       Contrast         tries every class as the label; learns from one positive and one negative
                    OnePass          one pass of the sample without a label
    learning rule   RidgeSums        weights in closed form, ``c99(inputs, units)``

Only the class that defines the method has this form: a subclass states its own. The method raises a
ValueError with one line if an option has no C form.

Each text is the body of a C function, whose arguments are named below. Statements end with ``;``. A text must
not declare static variables, its numbers are floats (`literal`), and it may use ``uint32_t``, ``<math.h>``,
the numbers FEATURES, INPUTS (values of an input of the first block) and CLASSES, and these functions:

    float dot(const float *a, const float *b, uint32_t n)    Σ a_i b_i
    float softplus(float x)                                  ln(1 + eˣ)
    float sigmoid(float x)                                   1/(1 + e⁻ˣ)

h (U,) activity of one row; U units; x a sample of FEATURES values; K classes, CLASSES in C; G⁺ and G⁻
goodness of the positive and of the negative row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

__all__ = [
    "Contrast",
    "ContrastLoss",
    "Dense",
    "Energy",
    "InPlace",
    "LabelWriter",
    "Logits",
    "OnePass",
    "RidgeSums",
    "literal",
]


def literal(value: float) -> str:
    """Return a number as a float constant of C, which reads back as the same float32.

    >>> literal(2), literal(0.1), literal(1e-8)
    ('2.0f', '0.1f', '1e-08f')

    Raises:
        ValueError: when it is non-finite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        single = np.float32(value)
    if not math.isfinite(single):
        raise ValueError(f"{value!r} is not a finite float32")
    text = str(single)  # the shortest text that gives this float32
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense layer, h = f(W x + b).

    >>> from torch import nn
    >>> Dense(nn.Linear(4, 3), value="return tanhf(a);", slope="return 1.0f - h * h;").linear.out_features
    3

    Attributes:
        linear: the layer with W (U, D) and b (U,).
        value: body of ``float f(float a)``, h = f(a).
        slope: body of ``float f(float h)``, f'(a) as a function of h.
    """

    linear: nn.Linear
    value: str = "return a;"
    slope: str = "return 1.0f;"


@dataclass(frozen=True, slots=True)
class Energy:
    """A goodness of form "energy".

    Attributes:
        value: body of ``float f(const float *h, uint32_t units)``, G.
        slope: body of ``float f(const float *h, uint32_t units, uint32_t j, float g)``, ∂G/∂h_j; ``g`` is G.
            It is called for every unit j, and should not go through all units.
    """

    value: str
    slope: str


@dataclass(frozen=True, slots=True)
class Logits:
    """A goodness that is the activity: h (K,) has a value for each class."""


@dataclass(frozen=True, slots=True)
class ContrastLoss:
    """An objective of one positive and one negative row.

    Attributes:
        loss: body of ``float f(float positive, float negative, float *up_positive, float *up_negative)``: it
            writes ∂L/∂G⁺ and ∂L/∂G⁻ and returns L.
    """

    loss: str


@dataclass(frozen=True, slots=True)
class InPlace:
    """A handoff.

    Attributes:
        change: body of ``void f(float *h, uint32_t units)``, which writes z over h; empty for the identity.
    """

    change: str


@dataclass(frozen=True, slots=True)
class LabelWriter:
    """A label code.

    Attributes:
        write: body of ``void f(float *row, const float *x, uint32_t label)``, which writes the INPUTS values
            of the labelled input.
    """

    write: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """An algorithm with one positive and one negative row for each sample.

    The evidence of a class is the energy of the sample with this class as the label.

    Attributes:
        labels: writes a class into a sample.
        keeps_samples: whether a negative is the same sample with a wrong label. If not, the network can be
            written for prediction only.
    """

    labels: LabelWriter
    keeps_samples: bool = True


@dataclass(frozen=True, slots=True)
class OnePass:
    """An algorithm that learns from and predicts by one view: the samples without a label."""


@dataclass(frozen=True, slots=True)
class RidgeSums:
    """A rule that solves for a layer, [W b]ᵀ = (A + λ I)⁻¹ B with A = Σ xᵀx and B = Σ xᵀz.

    Attributes:
        strength: λ.
        projection: (D, U) Q, for targets z = sign(x Q) + code; None for z = code.
        codes: (K, U) of −1, 0 and 1: the code of each class.
    """

    strength: float
    projection: Tensor | None
    codes: Tensor
