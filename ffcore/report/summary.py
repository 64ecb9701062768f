"""The summary of a run: its results beside those of the paper, its cost, and how to repeat it."""

from __future__ import annotations

from typing import Any

from ffcore.report.record import RunRecord
from ffcore.report.section import Section
from ffcore.report.text import (
    NOTHING,
    count,
    duration,
    error,
    literal,
    markdown_table,
    memory,
    number,
    percent,
    plain,
    plural,
    short,
    standard_error,
)


def summary(run: RunRecord) -> Section:
    """Returns the section with results and cost of the run, the paper's results, and the command."""
    parts = [_result(run), _setting(run)]
    if command := run.get("command"):
        parts.append(f"Command:\n\n```console\n$ {plain(command)}\n```")
    return Section("Summary", "\n\n".join(part for part in parts if part))


def _of_task(run: RunRecord) -> str:
    """Return the measures of a task other than the classification of samples."""
    rows = [
        (literal(name), number(value), number(run.get("val", name)))
        for name, value in (run.get("test") or {}).items()
        if name != "per_block" and not isinstance(value, list)
    ]
    return markdown_table(("", "test", "validation"), rows)


def _result(run: RunRecord) -> str:
    if run.get("task"):
        return _of_task(run)
    accuracy, samples = run.get("test", "accuracy"), run.get("data", "test")
    margin = ""
    if accuracy is not None and samples:
        margin = f" ± {100 * standard_error(accuracy, samples):.2f}"
    own = error(accuracy).replace(" %", f"{margin} %")
    paper = run.get("paper")
    rows = [
        # the third cell is replaced by the paper's column, if there is a paper
        ("test error", own, NOTHING),
        ("test accuracy", percent(accuracy), NOTHING),
        ("validation accuracy", percent(run.get("val", "accuracy")), NOTHING),
        ("epochs", count(run.get("epochs")), NOTHING),
    ]
    note = (
        f"± is the standard error for {plural(samples, 'test sample')}; it does not include other seeds."
        if margin
        else ""
    )
    if not paper:
        text = markdown_table(("", "this run"), [row[:2] for row in rows])
        return f"{text}\n\n{note}" if note else text
    of_paper = None if paper.get("test_error") is None else 1 - paper["test_error"] / 100
    columns = [error(of_paper), percent(of_paper), NOTHING, count(paper.get("epochs"))]
    table = markdown_table(
        ("", "this run", "paper"), [(*row[:2], cell) for row, cell in zip(rows, columns, strict=True)]
    )
    known = f"The paper's result: {literal(paper['source'])}" if paper.get("source") else ""
    return "\n\n".join(text for text in (table, known, note) if text)


def _setting(run: RunRecord) -> str:
    rows: list[tuple[str, Any]] = [
        ("recipe", run.get("recipe")),
        ("data", _data(run)),
        ("validation split", _split(run)),
        ("parameters", _parameters(run)),
        ("multiplications of a pass", _multiplications(run)),
        ("blocks", _blocks(run)),
        ("schedule", _schedule(run)),
        ("evidence combined by", run.get("contribution")),
        ("learned until epoch", ", ".join(f"{k}: {v}" for k, v in (run.get("stopped") or {}).items())),
        ("weights from", _selected(run)),
        ("epochs", _some(count, run.get("epochs")) if run.get("task") else None),  # else beside the paper's
        ("steps", _some(count, run.get("steps"))),
        ("training time", _some(duration, run.get("train_s"))),
        ("total time", _some(duration, run.get("wall_s"))),
        ("samples per second", _some(count, run.get("samples_per_s"))),
        ("peak memory", _some(memory, run.get("peak_memory"))),
        ("device", _device(run)),
        ("seed", run.get("seed")),
        ("commit", run.get("git_commit")),
        ("versions", ", ".join(f"{k} {v}" for k, v in (run.get("versions") or {}).items())),
    ]
    shown = [(name, literal(value)) for name, value in rows if value not in (None, "")]
    return markdown_table(("", "value"), shown, numbers=False) if shown else ""


def _parameters(run: RunRecord) -> str | None:
    total, heads = run.get("parameters"), _heads(run, "parameters")
    if total is None or not heads:
        return _some(count, total)  # type: ignore[no-any-return]
    return f"{count(total)}, of which {count(heads)} in heads"


def _multiplications(run: RunRecord) -> str | None:
    bodies = [block.get("multiplications") for block in run.get("blocks") or []]
    if not bodies or None in bodies:
        return None
    heads = _heads(run, "multiplications")
    text = f"{short(sum(bodies))} a sample" + (f", and {short(heads)} in heads" if heads else "")
    outside = ", ".join(run.get("boxes") or ())
    return f"{text}; without those of {outside}" if outside else text


def _schedule(run: RunRecord) -> str | None:
    """Returns the schedule with its options, without those that are off; None for a run without one."""
    schedule = run.config.get("schedule")
    if not isinstance(schedule, dict):
        return None if schedule is None else str(schedule)
    options = [f"{name}: {value}" for name, value in schedule.items() if name != "kind" and value]
    return ", ".join([str(schedule.get("kind")), *options])


def _heads(run: RunRecord, what: str) -> int:
    return sum(block.get(f"head_{what}") or 0 for block in run.get("blocks") or [])


def _some(how: Any, value: Any) -> Any:
    return None if value is None else how(value)


def _data(run: RunRecord) -> str:
    data = run.get("data") or {}
    sizes = [f"{count(data[part])} {part}" for part in ("train", "validation", "test") if data.get(part)]
    shape = "×".join(map(str, data.get("shape") or []))
    return ", ".join(part for part in (str(data.get("name", "")), shape, *sizes) if part)


def _split(run: RunRecord) -> str:
    cut = run.get("split", "validation")
    if not isinstance(cut, dict):
        return ""
    if not (size := cut.get("count")):
        return "none"
    if cut.get("from") == "data":
        return f"{plural(size, 'sample')}, given with the data"
    return f"{plural(size, 'sample')} of {cut.get('from', '?')}, drawn with seed {cut.get('seed', '?')}"


def _blocks(run: RunRecord) -> str:
    return ", ".join(
        f"{block['name']} ({'×'.join(map(str, block.get('shape', [])))})" for block in run.get("blocks") or []
    )


def _selected(run: RunRecord) -> str:
    selected = run.get("selected")
    if selected is None:
        return ""
    where = {"last": "the last epoch", "best": "the best epoch on validation data"}.get(selected, selected)
    epoch = run.get("epoch_selected")
    averages = f": {run.get('averages')}" if run.get("averages") else ""
    return f"{where}{'' if epoch is None else f' ({epoch})'}{averages}"


def _device(run: RunRecord) -> str:
    threads = run.get("threads")
    parts = run.get("device"), plural(threads, "thread") if threads else None
    return ", ".join(part for part in parts if part)
