"""Data that are made, for recipes: a sequence task with a long memory, and a graph of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np


def first_token(
    samples: int = 3000, length: int = 32, tokens: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random sequences of tokens, (N, T), whose class (N,) is their first token.

    >>> x, y = first_token(samples=4, length=5)
    >>> x.shape, bool((x[:, 0] == y).all())
    ((4, 5), True)
    """
    x = np.random.default_rng(seed).integers(tokens, size=(samples, length))
    return x, x[:, 0].copy()


def digits_neighbours(known: float = 0.05, neighbours: int = 8, seed: int = 0) -> dict[str, Any]:
    """scikit-learn's digits as the nodes of one graph, with edges to the nearest images.

    The graph is one sample with two inputs: features (1, T, 64) and the mean over neighbours (1, T, T).
    Targets are the classes (1, T) of the nodes: a share ``known`` of them for training, as many for
    validation, and the others for the test; −100 elsewhere.

    Args:
        known: share of the nodes whose class is known in training.
        neighbours: nearest images of a node.
        seed: seed of the choice of nodes.
    """
    from sklearn.datasets import load_digits
    from sklearn.neighbors import kneighbors_graph

    images, classes = load_digits(return_X_y=True)
    edges = kneighbors_graph(images, neighbours, include_self=True).toarray()
    edges = np.maximum(edges, edges.T)
    mean = (edges / edges.sum(1, keepdims=True)).astype(np.float32)
    x = ((images / 16).astype(np.float32)[None], mean[None])
    place = np.random.default_rng(seed).random(len(classes))
    parts = {
        "train": place < known,
        "val": (place >= known) & (place < 2 * known),
        "test": place >= 2 * known,
    }
    return {
        name: (x, np.where(chosen, classes, -100).astype(np.int64)[None]) for name, chosen in parts.items()
    } | {"classes": [str(k) for k in range(10)]}
