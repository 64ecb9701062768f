"""The leaves of a forest as a code.

    code = concatenation over trees t of e_{j_t(x)} ∈ {0, 1}^L

R rows; T trees; L the most leaves that the options allow a tree; j_t(x) the index of the leaf of x in tree t,
in the order of the tree's nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def leaves(model: Any, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the code (R, T·L) of rows (R, D) in a fitted forest, gradient boosting or tree.

    Raises:
        ValueError: when the options do not limit the number of leaves.
    """
    most = most_leaves(model)
    trees = np.ravel(getattr(model, "estimators_", [model]))
    nodes = np.asarray(model.apply(rows)).reshape(len(rows), len(trees)).astype(int)
    code = np.zeros((len(rows), len(trees), most), np.float32)
    for t, tree in enumerate(trees):
        of_tree = np.flatnonzero(tree.tree_.children_left == -1)
        code[np.arange(len(rows)), t, np.searchsorted(of_tree, nodes[:, t])] = 1
    return code.reshape(len(rows), -1)


def most_leaves(model: Any) -> int:
    """Return L, by ``max_leaf_nodes`` and ``max_depth``.

    Raises:
        ValueError: when neither is set.
    """
    options = model.get_params()
    limits = [options.get("max_leaf_nodes"), 2 ** options["max_depth"] if options.get("max_depth") else None]
    given = [limit for limit in limits if limit is not None]
    if not given:
        raise ValueError("leaves: set max_depth or max_leaf_nodes in options, so that the width is known")
    return int(min(given))
