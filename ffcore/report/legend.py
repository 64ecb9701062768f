"""A common legend for the lines of several axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ffcore.report.style import label as label_of
from ffcore.report.style import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase
    from matplotlib.legend import Legend

MOST = 8
"""Maximum number of sources in a legend; of more, evenly spaced ones, since colours change with depth."""


def shared_legend(
    target: FigureBase, drawn: Iterable[Axes], names: Sequence[str], **options: Any
) -> Legend | None:
    """Draw a legend of the sources in order of depth, then of the other lines.

    Args:
        target: the figure of the legend.
        drawn: axes with labelled lines.
        names: names of the sources in order of depth.
        **options: options of matplotlib's legend.

    Returns:
        The legend; None if there are fewer than two lines.
    """
    lines: dict[str, Any] = {}
    for ax in drawn:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            lines.setdefault(label, handle)
    labels = spread([name for name in names if name in lines], MOST)
    labels += [label for label in lines if label not in names]
    if len(labels) < 2:
        return None
    # two rows if one would be too wide
    columns = len(labels) if len(labels) <= 5 else -(-len(labels) // 2)
    shown = [label_of(label) for label in labels]
    return target.legend([lines[label] for label in labels], shown, ncols=columns, **options)
