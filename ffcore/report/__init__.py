"""The report of a run: a pure function of the run directory, so that it can be made again.

Light: no torch; matplotlib is imported by what draws.
"""

from ffcore.report.compare import write_comparison
from ffcore.report.differences import differences, names_of_runs
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.table import compare_table, differences_table, results_table
from ffcore.report.write import write_report

__all__ = [
    "Picture",
    "RunRecord",
    "Section",
    "compare_table",
    "differences",
    "differences_table",
    "names_of_runs",
    "results_table",
    "write_comparison",
    "write_report",
]
