"""The style of all pictures: colours, sizes, axes."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ffcore.report.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["depth_colours", "epoch_axis", "label", "new_figure"]

INK = "#1f2933"  # text, and results of all sources combined
MUTED = "#7b8794"
GRID = "#e8ebef"
FRAME = "#cbd2d9"
POSITIVE = "#2b6cb0"
NEGATIVE = "#e07b39"
READOUTS = ("#b83280", "#d53f8c", "#97266d")
RUNS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d00", "#7b3294", "#4d4d4d")
"""Colours of compared runs; the first four also differ for the colour-blind (Okabe and Ito 2008)."""
WIDE = 7.6
"""Maximum width of a picture in inches: it fits on a printed page almost without scaling."""
DPI = 110

_RC: dict[str, Any] = {
    "font.size": 8,
    "text.color": INK,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.handlelength": 1.4,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.dpi": DPI,
    "svg.hashsalt": "ffcore",  # a fixed salt: the same picture gives the same file
    "text.parse_math": False,  # a class may have the name "$"
}


FALLBACKS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK TC", "Noto Sans CJK KR", "Noto Sans JP"),
    *("Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAexGothic"),
    *("TakaoPGothic", "Hiragino Sans", "PingFang SC", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic"),
    *("Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai", "Arial Unicode MS", "Unifont"),
)
"""Fonts for scripts that matplotlib's own font does not have; those that are installed are used."""


@functools.cache
def _families() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACKS if name in installed)]


@functools.cache
def _drawable() -> frozenset[int]:
    """Returns the code points of all characters that a picture can show."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(code for name in _families() for code in get_font(findfont(name)).get_charmap())


def label(text: object, most: int = 24, instead: str | None = None) -> str:
    """Returns a name of the user for a picture: one line, not longer than ``most``, with known characters.

    Args:
        text: the name.
        most: largest number of characters; a longer name is shortened in its middle.
        instead: returned if no installed font has a character of the name; None for its code in place of it.
    """
    line = plain(text)
    known = _drawable()
    if not all(ord(c) in known for c in line):
        if instead is not None:
            return instead
        line = "".join(c if ord(c) in known else f"\\u{ord(c):04x}" for c in line)
    if len(line) <= most:
        return line
    head = most // 2
    return f"{line[:head]}…{line[len(line) - (most - head - 1) :]}"


@contextmanager
def paper_style() -> Iterator[None]:
    """Use the report's style for all pictures drawn inside, also those of plugins."""
    from matplotlib import rc_context

    with rc_context(_RC | {"font.family": _families()}), warnings.catch_warnings():  # type: ignore[arg-type]
        # names are drawn by `label`; those that a plugin draws may still have such characters
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of this size in inches, with constrained layout."""
    from matplotlib.figure import Figure

    # not pyplot: it would keep the figure in a global list, and may need a display
    figure = Figure(figsize=(width, height), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.07, h_pad=0.06)  # type: ignore[call-arg]
    return figure


def depth_colours(names: Sequence[str]) -> dict[str, str]:
    """Returns a colour for each block, from dark to light with depth."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    places = [0.35] if len(names) == 1 else np.linspace(0.08, 0.86, len(names)).tolist()
    ramp = colormaps["viridis"]
    return {name: to_hex(ramp(place)) for name, place in zip(names, places, strict=True)}


def bare(ax: Axes) -> None:
    """Remove ticks, spines and grid, for axes that show an image."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def mark(points: int) -> dict[str, Any]:
    """Returns line options: short lines get markers; without one, a line of one point is invisible."""
    if points == 1:
        return {"marker": "o", "ms": 6}
    return {"marker": "o"} if points <= 12 else {}


def epoch_axis(ax: Axes) -> None:
    """Label the x axis with integer epochs."""
    from matplotlib.ticker import MaxNLocator

    left, right = ax.get_xlim()
    if right - left < 1:  # with a single epoch matplotlib would choose fractions of an epoch
        ax.set_xlim((left + right) / 2 - 1, (left + right) / 2 + 1)

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=[1, 2, 5, 10]))
    ax.set_xlabel("epoch")


def fit_scale(ax: Axes, values: Sequence[float]) -> None:
    """Make the y axis logarithmic, with plain numbers as ticks, if the values span a factor of 4."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    finite = [v for v in values if np.isfinite(v)]
    if not finite or min(finite) <= 0 or max(finite) / min(finite) < 4:
        return
    low, high = min(finite) / 1.15, max(finite) * 1.15
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    # ticks at 1, 2, 5 of each decade, or only at powers of ten if there are many decades
    factors = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
    ax.set_yscale("log")
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def spread(names: Sequence[str], most: int) -> list[str]:
    """Returns at most ``most`` of the names, evenly spaced, with the first and the last."""
    if len(names) <= most:
        return list(names)
    return [names[i] for i in np.linspace(0, len(names) - 1, most).round().astype(int)]
