"""What a representation is like: measures of activities, as plain functions, and of whole networks.

`ffcore.analyse` applies them to every block of a network or of a finished run. Each function takes the
activity of one block, such as from `ffcore.activities`.
"""

from __future__ import annotations

from ffcore.analysis.measures import (
    cosine,
    dead_share,
    effective_rank,
    lifetime_sparsity,
    linear_cka,
    participation_ratio,
    population_sparsity,
    zero_share,
)
from ffcore.report.analysis_record import Analysis

__all__ = [
    "Analysis",
    "cosine",
    "dead_share",
    "effective_rank",
    "lifetime_sparsity",
    "linear_cka",
    "participation_ratio",
    "population_sparsity",
    "zero_share",
]
