"""Section of the report: text that a language model writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffcore.report import RunRecord, Section
from ffcore.report.text import code
from ffcore_sequence.text import text_of


def continuations(run: RunRecord) -> Section | None:
    """Show the arrays ``continued/tokens`` (S, n) and ``continued/given`` as text; None without them."""
    tokens, given = run.arrays.get("continued/tokens"), run.sample("continued/given")
    names: Any = run.get("data", "classes")
    if tokens is None or not len(given) or not names:
        return None
    table = np.asarray(tokens).astype(int)
    if table.ndim != 2 or not 0 <= table.min() <= table.max() < len(names):
        return None
    first = int(given[0])
    lines = [
        f"- **{code(text_of(row[:first].tolist(), names))}** {code(text_of(row[first:].tolist(), names))}"
        for row in table
    ]
    body = (
        "First tokens of test samples, in bold, and what the network writes after them, at temperature 0.8."
    )
    return Section("Samples", "\n".join([body, "", *lines]))
