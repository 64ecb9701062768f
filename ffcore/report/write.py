"""Writes a run's report into its directory: ``report.md``, ``overview.png`` and ``pictures/``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ffcore.files import write_whole
from ffcore.plugin import manager
from ffcore.report.confusion import confusion
from ffcore.report.curves import learning_curves
from ffcore.report.evidence import evidence
from ffcore.report.goodness import goodness
from ffcore.report.images import misclassified, receptive_fields
from ffcore.report.overview import overview
from ffcore.report.record import RunRecord
from ffcore.report.section import Section, SectionMaker
from ffcore.report.style import paper_style
from ffcore.report.summary import summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTIONS: dict[str, SectionMaker] = {
    "summary": summary,
    "learning curves": learning_curves,
    "evidence": evidence,
    "goodness": goodness,
    "confusion": confusion,
    "receptive fields": receptive_fields,
    "misclassified": misclassified,
}
"""The sections of every report, in order; those of plugins follow."""


def write_report(run_dir: str | Path, complain: Callable[[str], None] = lambda message: None) -> Path:
    """Make the report of a finished run from what lies in its directory.

    It is a function of the directory alone, and may be made again at any time.

    Args:
        run_dir: the run directory.
        complain: told, in one line, of every part that failed; the report goes on without.

    Returns:
        The path of ``report.md``.

    Raises:
        UserError: the directory is no finished run, or one of its files is broken.
    """
    run = RunRecord.read(run_dir)
    pictures = run.path / "pictures"
    pictures.mkdir(exist_ok=True)
    parts = [f"# {run.get('title') or run.get('recipe') or run.path.name}"]
    taken: set[str] = set()
    with paper_style():
        parts += _guarded("overview", lambda: _overview(run), complain)
        for title, make in _sections():
            parts += _guarded(title, lambda make=make: _shown(make(run), pictures, taken), complain)  # type: ignore[misc]
    target = run.path / "report.md"
    write_whole(target, lambda path: path.write_text("\n\n".join(parts) + "\n", encoding="utf-8"))
    return target


def _guarded(title: str, make: Callable[[], list[str]], complain: Callable[[str], None]) -> list[str]:
    """A part's markdown, or one line that says why there is none."""
    try:
        return make()
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        message = f"{title} failed: {type(error).__name__}: {reason}"
        complain(message)
        return [f"*{message}*"]


def _overview(run: RunRecord) -> list[str]:
    file = run.path / "overview.png"
    file.unlink(missing_ok=True)  # rather none than one of an earlier report
    _save(overview(run), file)
    return [f"![Overview]({file.name})"]


def _sections() -> Iterator[tuple[str, SectionMaker]]:
    """Sections with their titles; a plugin's is loaded late, so that its failure is the section's own."""
    yield from ((f"report section {name!r}", make) for name, make in SECTIONS.items())
    for entry in manager.current().registry.entries("report_section"):
        yield entry.title, lambda run, entry=entry: entry.load()(run)  # type: ignore[misc]


def _shown(section: Section | None, pictures: Path, taken: set[str]) -> list[str]:
    """A section's markdown; its pictures are saved on the way."""
    if section is None:
        return []
    if not isinstance(section, Section):
        raise TypeError(f"a section is a ffcore.report.Section or None, not {type(section).__name__}")
    parts = [f"## {section.title}", section.body]
    for picture in section.pictures:
        if picture.name in taken:
            raise ValueError(f"two pictures are called {picture.name!r}")
        taken.add(picture.name)
        file = pictures / f"{picture.name}.png"
        _save(picture.figure, file)
        parts += [f"![{picture.caption}]({pictures.name}/{file.name})", f"*{picture.caption}*"]
    return [part for part in parts if part]


def _save(figure: Figure, target: Path) -> None:
    write_whole(target, lambda path: figure.savefig(path, format="png"))
