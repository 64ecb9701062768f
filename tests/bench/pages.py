"""Measured figures in a page of the docs, between the marks ``<!-- NAME: begin -->`` and ``NAME: end``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path


def fill(page: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of a name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def mean(values: Sequence[float], digits: int = 2) -> str:
    """Return mean ± standard deviation; the mean alone of one value.

    >>> mean([1.0, 2.0, 3.0], 1), mean([2.0])
    ('2.0 ± 1.0', '2.00')
    """
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"
