"""Writes the report of a run into its directory: ``report.md``, ``report.html`` and the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ffcore.plugin import manager
from ffcore.report.analysis import analysis
from ffcore.report.boxes import boxes
from ffcore.report.confusion import confusion
from ffcore.report.cost_sheet import cost_sheet
from ffcore.report.costs import costs
from ffcore.report.curves import learning_curves
from ffcore.report.document import Document
from ffcore.report.evidence import evidence
from ffcore.report.exits import exits
from ffcore.report.goodness import goodness
from ffcore.report.images import misclassified, receptive_fields
from ffcore.report.overview import overview
from ffcore.report.record import RunRecord
from ffcore.report.section import Picture, SectionMaker
from ffcore.report.spent import spent
from ffcore.report.style import paper_style
from ffcore.report.summary import summary

SECTIONS: dict[str, SectionMaker] = {
    "summary": summary,
    "learning curves": learning_curves,
    "evidence": evidence,
    "costs": costs,
    "cost sheet": cost_sheet,
    "exits": exits,
    "analysis": analysis,
    "boxes": boxes,
    "spent": spent,
    "goodness": goodness,
    "confusion": confusion,
    "receptive fields": receptive_fields,
    "misclassified": misclassified,
}
"""The sections of every report, in order; the sections of plugins follow."""


def write_report(run_dir: str | Path, complain: Callable[[str], None] = lambda message: None) -> Path:
    """Write the report of a finished run from the files in its directory.

    It depends on these files alone and can be written again at any time. ``report.html`` has the same content
    as ``report.md``, with the pictures inside.

    Args:
        run_dir: the run directory.
        complain: called with one line for every section that failed; the others are still written.

    Returns:
        The path of ``report.md``.

    Raises:
        UserError: it is not the directory of a finished run, or one of its files is damaged.
    """
    run = RunRecord.read(run_dir)
    document = Document(run.get("title") or run.get("recipe") or run.path.name, run.path, complain)
    (run.path / "overview.png").unlink(missing_ok=True)  # if drawing fails, an old picture must not remain
    with paper_style():
        document.cover(lambda: Picture("overview", overview(run), "Overview of the run."))
        for name, make in _sections():
            document.add(name, lambda make=make: make(run))  # type: ignore[misc]
    return document.write()


def _sections() -> Iterator[tuple[str, SectionMaker]]:
    """Yield the sections with their names. Those of plugins are imported late, so that errors are caught."""
    yield from ((f"report section {name!r}", make) for name, make in SECTIONS.items())
    for entry in manager.current().registry.entries("report_section"):
        yield entry.title, lambda run, entry=entry: entry.load()(run)  # type: ignore[misc]
