"""The results of a run: see `ffcore.report.results`, which imports no torch."""

from ffcore.report.results import Accuracies, Block, DataSummary, Paper, Record, Results, Source

__all__ = ["Accuracies", "Block", "DataSummary", "Paper", "Record", "Results", "Source"]
