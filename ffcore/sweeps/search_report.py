"""The table and the report of a search: its best point, its trials, and what the parameters do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ffcore.plugin import manager
from ffcore.report.section import Section
from ffcore.report.text import NOTHING, clock, count, literal, markdown_table, percent
from ffcore.report.text import number as formatted
from ffcore.run import directory
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.search import Search, Trial, ordered, short_value
from ffcore.sweeps.sweep import PICTURE, Sweep, plus_minus, remarks, shown

LEAST = 8
"""Fewest finished trials for which the importance of parameters is shown."""


def columns(sweep: Sweep) -> tuple[str, ...]:
    """Returns the head of the table of `rows`."""
    search = _search(sweep)
    what = "error %" if search.headline is None else search.headline
    return ("trial", *names(list(search.ranges)), f"test {what}", f"val. {what}", "epochs", "time")


def rows(sweep: Sweep, *, best_first: bool = False) -> list[list[str]]:
    """Returns a row for each trial: in the order of their numbers, or the best first."""
    search = _search(sweep)
    trials = search.found
    if best_first:
        trials = sorted(trials, key=lambda one: _rank(search, one))
    return [_row(sweep, search, trial) for trial in trials]


def names(paths: Sequence[str]) -> list[str]:
    """Returns short names of parameters: the last word of a path, if it is unique and no index.

    >>> names(["optimizer.lr", "network.0.units", "network.1.units"])
    ['lr', 'network.0.units', 'network.1.units']
    """
    last = [path.rpartition(".")[2] for path in paths]
    return [
        word if last.count(word) == 1 and not word.isdecimal() else path
        for word, path in zip(last, paths, strict=True)
    ]


def best_lines(sweep: Sweep) -> list[str]:
    """Returns which trial is best on validation, and the command that runs its point; [] without one."""
    search = _search(sweep)
    if (best := search.best) is None:
        return []
    value = percent((best.value or 0.0) / 100) if search.headline is None else formatted(best.value)
    what = "validation error" if search.headline is None else search.measure
    where = "" if best.worker is None else f", by the worker {best.worker}"
    return [f"best      trial-{best.number:04d}: {what} {value}{where}", f"run it    {command(sweep, best)}"]


def command(sweep: Sweep, trial: Trial) -> str:
    """Returns the command that trains the point of a trial."""
    search = _search(sweep)
    values = [f"{path}={value}" for path, value in trial.values.items()]
    seeds = ["--seeds", ",".join(map(str, search.seeds))] if len(search.seeds) > 1 else []
    one = [f"seed={search.seeds[0]}"] if len(search.seeds) == 1 else []
    return manager.command("run", sweep.recipe, *ordered((*search.overrides, *values, *one)), *seeds)


def sections(sweep: Sweep) -> list[Section]:
    """Returns the sections of the report, without its picture."""
    search = _search(sweep)
    made = []
    if (best := search.best) is not None:
        lines = best_lines(sweep)
        test = _tests(sweep, sweep.trials.get(best.number, []))
        what = "error" if search.headline is None else search.headline
        tested = f" Its test {what} is {test}{' %' * (search.headline is None)}." if test != NOTHING else ""
        first = lines[0].partition(" ")[2].strip()
        made.append(Section("Best point", f"{literal(first)}.{tested}\n\n    {command(sweep, best)}"))
    if (known := importance(search)) is not None:
        table = markdown_table(
            ("parameter", "importance"), [[path, percent(share)] for path, share in known.items()]
        )
        about = (
            "Share of each parameter in reaching the best tenth of the trials (PED-ANOVA). It says nothing "
            "about values outside of the ranges, and is rough for few trials."
        )
        made.append(Section("Importance", f"{about}\n\n{table}"))
    parts = [markdown_table(columns(sweep), rows(sweep)), *remarks(sweep)]
    made.append(Section("Trials", "\n\n".join(parts)))
    made.append(Section("Search", _settings(sweep, search)))
    return made


def importance(search: Search) -> dict[str, float] | None:
    """Returns the importance of each parameter, the largest first; None if there are too few trials."""
    done = sum(trial.state == "done" for trial in search.found)
    if search.importance is None or done < LEAST:
        return None
    return dict(sorted(search.importance.items(), key=lambda item: -item[1]))


def write_text(sweep: Sweep) -> None:
    """Write ``summary.md`` without a picture, while the search runs."""
    parts = [f"# {literal(title(sweep))}"]
    for section in sections(sweep):
        parts += [f"## {section.title}", section.body]
    directory.write_text(sweep.folder / "summary.md", "\n\n".join(parts) + "\n")


def write(sweep: Sweep, complain: Callable[[str], None]) -> bool:
    """Write ``summary.md`` and ``summary.html`` with the picture ``summary.png``.

    Args:
        sweep: the search.
        complain: called with one line for a part that failed.

    Returns:
        Whether there is a picture: it needs two trials with values.
    """
    from ffcore.report.document import Document
    from ffcore.report.section import Picture
    from ffcore.report.style import paper_style
    from ffcore.sweeps.picture import search_figure

    document = Document(title(sweep), sweep.folder, complain)
    with paper_style():
        figure = search_figure(sweep)
        for section in sections(sweep):
            if section.title == "Trials" and figure is not None:
                document.add("parameters", lambda: Section("Parameters"))
                caption = f"The {_search(sweep).measure} of each trial; of a pruned one the last value."
                picture = Picture(PICTURE.removesuffix(".png"), figure, caption)
                document.cover(lambda picture=picture: picture)  # type: ignore[misc]
            document.add(section.title, lambda section=section: section)  # type: ignore[misc]
        document.write("summary")
    return figure is not None


def title(sweep: Sweep) -> str:
    """Returns the title: what was searched, and how far it is."""
    found = _search(sweep).found
    words = {"done": "done", "pruned": "pruned", "failed": "failed", "running": "unfinished"}
    counts = [
        f"{sum(trial.state == state for trial in found)} {word}"
        for state, word in words.items()
        if any(trial.state == state for trial in found)
    ]
    return f"{sweep.recipe}: search of {_search(sweep).trials} trials, {', '.join(counts) or 'none begun'}"


def _settings(sweep: Sweep, search: Search) -> str:
    rows = [[path, f"`{text}`"] for path, text in search.ranges.items()]
    storage = f"`{search.storage}`" if search.storage is not None else "`study.db` in this directory"
    rows += [
        ["seeds of a trial", ", ".join(map(str, search.seeds)) or "that of the recipe"],
        ["sampler", f"{search.sampler}, seed {search.seed}"],
        ["pruning", "worse than the median of earlier trials at the same epoch" if search.prune else "none"],
        ["study", f"`{search.study}` in {storage}"],
    ]
    parts = [markdown_table(("parameter or option", "value"), rows, numbers=False)]
    if sweep.command is not None:
        parts.append(f"    {sweep.command}")
    return "\n\n".join(parts)


def _rank(search: Search, trial: Trial) -> tuple[int, float]:
    order = ("done", "pruned", "running", "failed").index(trial.state)
    value = trial.value if trial.value is not None else float("inf")
    return order, value if search.lower else -value


def _row(sweep: Sweep, search: Search, trial: Trial) -> list[str]:
    values = [short_value(trial.values.get(path, NOTHING)) for path in search.ranges]
    runs = sweep.trials.get(trial.number, [])
    name = f"trial-{trial.number:04d}" + (" elsewhere" if trial.worker is not None else "")
    digits = sweep.digits
    own = shown(sweep, runs)[1]
    if trial.state == "done":
        mark = " (best val.)" if trial is search.best else ""
        val = plus_minus(own if own else [trial.value or 0.0], digits)
        metrics = [sweep.metrics(run) for run in runs]
        epochs = max((one["epochs"] or 0 for one in metrics), default=0)
        seconds = sum(one["wall_s"] or 0.0 for one in metrics)
        where = [count(epochs), clock(seconds)] if runs else [NOTHING, NOTHING]
        return [f"{name}{mark}", *values, _tests(sweep, runs), val, *where]
    last = "" if trial.value is None else f", {trial.value:.{digits}f}"
    states = {sweep.state(run) for run in runs} - {"done"}
    own_state = states.pop() if len(states) == 1 and len(runs) == 1 else "unfinished"
    state = own_state if trial.state == "running" and runs else trial.state
    return [name, *values, NOTHING, f"{state}{last}", NOTHING, NOTHING]


def _tests(sweep: Sweep, runs: Sequence[SweepRun]) -> str:
    return plus_minus(shown(sweep, runs)[0], sweep.digits)


def _search(sweep: Sweep) -> Search:
    assert sweep.search is not None
    return sweep.search
