"""Prototypes: a block's activity should be near the prototype of its class.

    f    = pooled activity                                  (R, F)
    g_k  = cos(f, p_k)/T                                    (R, K), metric "cosine"
    g_k  = −‖f − p_k‖²/(F T)                                (R, K), metric "distance"

    simplex: ‖p_k‖ = 1,  p_j · p_k = −1/(K − 1) for j ≠ k

R rows; F features; K classes; T the temperature; prototypes p (K, F). A silent row, f = 0, has the cosine 0,
with the derivative of f · p_k/‖p_k‖.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, Goodness
from ffcore.interfaces.goodness import Form
from ffcore.options import Positive, Size
from ffcore_local.heads import Pooled


def simplex(classes: int, features: int) -> Tensor:
    """Return the vertices (K, F) of a regular simplex around 0, of length 1, in a random rotation.

    Args:
        classes: number of vertices K.
        features: number of dimensions F.

    Raises:
        ValueError: when K is 1, or F is less than K − 1.
    """
    if classes < 2:
        raise ValueError("all samples are of one class; prototypes need two classes or more")
    if features < classes - 1:
        raise ValueError(
            f"a simplex of {classes} prototypes needs {classes - 1} features or more, the activity has "
            f"{features}; use more units, less pooling, or init: random"
        )
    # In float64: the rows of a centred identity have equal lengths and equal products.
    centred = torch.eye(classes, dtype=torch.float64) - 1 / classes
    values, vectors = torch.linalg.eigh(centred)
    # The smallest eigenvalue is 0: its eigenvector is the mean of all vertices.
    vertices = F.normalize((vectors * values.clamp(min=0).sqrt())[:, 1:], dim=1)
    rotation, _ = torch.linalg.qr(torch.randn(features, classes - 1, dtype=torch.float64))
    made: Tensor = (vertices @ rotation.T).to(torch.get_default_dtype())
    return made


class Prototypes(Goodness):
    """Similarity of the pooled activity to one prototype per class.

    With cross-entropy and the cosine it is the loss of Hyperspherical Forward-Forward (arXiv:2605.00082).
    With ``metric: distance`` and ``learned: true`` the prototypes are the class anchors of Distance-Forward
    (arXiv:2408.14925).

    Args:
        metric: "cosine" of the activity and the prototype, or minus the squared "distance", divided by F.
        temperature: T.
        init: "simplex": vertices of a regular simplex in a random rotation; "random": random directions.
        learned: whether the prototypes learn with the block. Otherwise they are fixed.
        features: largest number F of features of an image: its pixels are averaged in cells until there are
            not more. null: no pooling.
        grid: number of cells of a side, in place of ``features``: 1 averages all pixels.
        dim: for an activity of tokens, the dimension that holds the features: -1 for (T, D).
    """

    form: ClassVar[Form] = "class"
    prototypes: Tensor
    examples = (
        {"metric": "distance", "learned": True},
        {"init": "random", "features": None},
    )

    def __init__(
        self,
        metric: Literal["cosine", "distance"] = "cosine",
        temperature: Positive = 0.1,
        init: Literal["simplex", "random"] = "simplex",
        learned: bool = False,
        features: Size | None = 2048,
        grid: Size | None = None,
        dim: Annotated[int, Field(ge=-8, le=8)] | None = None,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.temperature = temperature
        self.init = init
        self.learned = learned
        self.options = (features if grid is None else None, grid, dim)

    def setup(self, context: Context) -> None:
        """Make the prototypes.

        Raises:
            ValueError: when the pooling does not fit the activity, or a simplex does not fit the features.
        """
        try:
            self.pooled = Pooled(context.shape, *self.options)
            if self.init == "simplex":
                made = simplex(context.classes, self.pooled.features)
            else:
                made = F.normalize(torch.randn(context.classes, self.pooled.features), dim=1)
        except ValueError as error:
            raise ValueError(f"goodness prototypes: block {context.name}: {error}") from error
        if self.metric == "distance":
            made = made * math.sqrt(self.pooled.features)  # elements near ±1: the distance is divided by F
        if self.learned:
            self.prototypes = torch.nn.Parameter(made)
        else:
            self.register_buffer("prototypes", made)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        f = self.pooled(activity)
        # Autocast would round the differences of nearly equal distances.
        with torch.autocast(f.device.type, enabled=False):
            f = f.to(torch.promote_types(f.dtype, torch.float32))
            p = self.prototypes.to(f.dtype)
            if self.metric == "cosine":
                length: Tensor = f.norm(dim=1, keepdim=True)
                # not F.normalize, whose gradient at a row of zeros is 10¹²
                f = f / length.masked_fill(length == 0, 1.0)
                made: Tensor = f @ F.normalize(p, dim=1).T
            else:
                # ‖f − p‖² without a tensor (R, K, F)
                made = 2 * f @ p.T - f.square().sum(1, keepdim=True) - p.square().sum(1)
                made = made / f.shape[1]
            return made / self.temperature
