"""The report of a run, made from its run directory alone: it can be written again at any time.

Does not import torch; matplotlib is imported by the functions that draw.
"""

from ffcore.report.compare import write_comparison
from ffcore.report.differences import differences, names_of_runs
from ffcore.report.evidence import better_alone
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.table import compare_table, differences_table, results_table
from ffcore.report.write import write_report

__all__ = [
    "Picture",
    "RunRecord",
    "Section",
    "better_alone",
    "compare_table",
    "differences",
    "differences_table",
    "names_of_runs",
    "results_table",
    "write_comparison",
    "write_report",
]
