"""The confusion matrix: its plot, the most frequent confusions, and the accuracy of each class.

K classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ffcore.report.record import Array, RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.style import FRAME, INK, NEGATIVE, POSITIVE, label, new_figure
from ffcore.report.text import literal, markdown_table, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COUNTS = 20
"""With more classes the plot has colours, but no counts."""


def confusion(run: RunRecord) -> Section | None:
    """Returns the section with the confusion matrix of the test data and the most frequent confusions."""
    matrix = matrix_of(run)
    if matrix is None:
        return None
    # grows with the number of classes, between a readable size and the width of a page
    size = min(max(2.6 + 0.24 * len(matrix), 3.4), 6.5)
    figure = new_figure(size, size * 0.95)
    draw_confusion(figure.add_subplot(), run)
    caption = (
        "Number of test samples by true class (rows) and predicted class (columns). Blue: correct; orange: "
        "wrong. The stronger the colour, the larger the share of the true class."
    )
    text = f"{_worst(run, matrix)}\n\n{_by_class(run, matrix)}"
    return Section("Confusion", text, [Picture("confusion", figure, caption)])


def matrix_of(run: RunRecord) -> Array | None:
    """Returns (K, K) counts, rows are true classes; None if the run has none."""
    matrix = np.array(run.get("test", "confusion") or [], dtype=int)
    return matrix if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.sum() else None


def names_of(run: RunRecord, classes: int) -> list[str]:
    """Returns the names of the classes; their indices if the run has no fitting names."""
    return run.classes if len(run.classes) == classes else [str(k) for k in range(classes)]


def labels_of(run: RunRecord, classes: int, most: int = 16) -> list[str]:
    """Returns the names of the classes for a picture; the index of a class whose name cannot be drawn."""
    return [label(name, most, str(k)) for k, name in enumerate(names_of(run, classes))]


def _worst(run: RunRecord, matrix: Array) -> str:
    names = [literal(name) for name in names_of(run, len(matrix))]
    wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
    # a stable sort: pairs with equal counts keep their order, so that the report is reproducible
    pairs = np.argsort(-wrong, axis=None, kind="stable")[:3]
    worst = [
        f"{names[t]} predicted as {names[p]} ({wrong[t, p]}×)"
        for t, p in (divmod(int(i), len(matrix)) for i in pairs)
        if wrong[t, p]
    ]
    return f"Most frequent: {', '.join(worst)}." if worst else "No test sample is misclassified."


def _by_class(run: RunRecord, matrix: Array) -> str:
    """Returns a table of the accuracy of each class, the worst first; of many classes only both ends."""
    share = matrix.diagonal() / matrix.sum(1).clip(min=1)
    names, order = names_of(run, len(matrix)), np.argsort(share, kind="stable")
    left_out = len(order) > MOST_COUNTS
    shown = [*order[: MOST_COUNTS // 2], *order[-MOST_COUNTS // 2 :]] if left_out else order
    table = markdown_table(
        ("class", "test accuracy"), [(literal(names[k]), percent(share[k])) for k in shown]
    )
    ends = f"\n\nThe worst and the best {MOST_COUNTS // 2} of {len(order)} classes." if left_out else ""
    return table + ends


def draw_confusion(ax: Axes, run: RunRecord) -> None:
    """Draw the counts on two colour scales, so that few mistakes can be seen beside many correct samples."""
    matrix = matrix_of(run)
    assert matrix is not None, "checked by the caller"
    classes = len(matrix)
    ax.imshow(_tints(matrix), interpolation="nearest")
    if classes <= MOST_COUNTS:
        size = 7 if classes <= 12 else 5
        for t, p in zip(*np.nonzero(matrix), strict=True):
            ax.text(p, t, f"{matrix[t, p]}", ha="center", va="center", fontsize=size, color=INK)
    names = labels_of(run, classes)
    shown = np.arange(0, classes, 1 if classes <= MOST_COUNTS else -(-classes // 10))
    long = max(len(name) for name in names) > 3
    ax.set_xticks(shown, [names[k] for k in shown])
    ax.set_yticks(shown, [names[k] for k in shown])
    if long:  # horizontal names would overlap
        for tick in ax.get_xticklabels():
            tick.set(rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0, pad=2)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=FRAME)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true", labelpad=6)
    ax.set_title("Confusion on test data")


def _tints(matrix: Array) -> Array:
    """Returns colours (K, K, 3): from white to blue on the diagonal, from white to orange elsewhere."""
    from matplotlib.colors import to_rgb

    share = matrix / matrix.sum(1, keepdims=True).clip(min=1)
    hit = np.eye(len(matrix), dtype=bool)
    most = share[~hit].max(initial=0)
    # At least 1 % as reference: a single mistake in a thousand samples should not get a strong colour. The
    # square root makes small shares visible.
    wrong = np.sqrt(share / max(most, 0.01)) * 0.85
    strength = np.where(hit, 0.12 + 0.33 * share, wrong)[..., None]
    target = np.where(hit[..., None], to_rgb(POSITIVE), to_rgb(NEGATIVE))
    tints: Array = 1 + (target - 1) * strength
    return tints
