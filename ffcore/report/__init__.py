"""The report of a run: a pure function of the run directory, so that it can be made again.

Light: no torch; matplotlib is imported by what draws.
"""

from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, Section
from ffcore.report.table import compare_table, results_table
from ffcore.report.write import write_report

__all__ = ["Picture", "RunRecord", "Section", "compare_table", "results_table", "write_report"]
