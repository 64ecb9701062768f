"""The energy audit of Spyra and Dzwinel (PPAM 2026) on this machine: recipes audit/*, beside their figures.

    python tests/bench/audit.py --root DIR [--seeds 1] [--epochs N] [--device cuda] [--runs DIR] [RECIPE ...]
    python tests/bench/audit.py --write docs/audit.md

A recipe and its twin run one after the other, each in a process of its own. With --epochs a run is cut: its
rates and patience are those of a run of so many epochs. Rows are kept in docs/results/audit.json, and what is
kept is not measured again; rows of another device or number of epochs belong into another file (--keep).
With --runs, run directories stay, and the same command resumes a run that was stopped.
Times are CPU times on one thread of a CPU, since other programs may run too, and those of a clock on a GPU,
where the energy comes from NVML (pip install ffcore[energy]).
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ffcore.recipe.load import load, names
from ffcore.report.spent import energy
from ffcore.report.text import duration, memory, short
from ffcore.run.directory import write_json

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "results" / "audit.json"
PAGE = Path(__file__).parent / "audit.md.in"

RECIPES = tuple(sorted(name for name in names() if name.startswith("audit/")))

COUNTERS = ("gpu", "gpu, sampled", "cpu")  # the first that was read; the audit has that of the GPU
REACHED = 0.984  # accuracy of the audit's backprop on MNIST

# Of single runs, from raw logs and the README of the audit's code (2025 and May 2026); A100-SXM4-40GB.
THEIRS: dict[str, dict[str, str]] = {
    "audit/ff-1000x3": {"time": "372 to 451 s", "energy": "6.6 to 8.3 Wh"},
    "audit/ff-2000x4": {"error": "1.4 to 1.7 %", "time": "443 to 588 s", "energy": "12.6 to 16.1 Wh"},
    "audit/ff-2000x4-backprop": {"error": "1.6 %", "time": "123 to 129 s", "energy": "4.1 to 4.3 Wh"},
    "audit/mono-forward-cifar10": {
        "error": "37.66 %",
        "time": "177.7 s",
        "energy": "3.17 Wh",
        "memory": "1,120 MiB",
    },
    "audit/mono-forward-cifar10-backprop": {
        "error": "38.87 %",
        "time": "268.5 s",
        "energy": "5.35 Wh",
        "memory": "1,184 MiB",
    },
}


def measured(
    recipe: str, seed: int, root: str, epochs: int | None, device: str, runs: Path | None
) -> dict[str, Any]:
    """Return the row of one run, whose directory is in runs, or temporary."""
    words = [f"seed={seed}", f"data.root={root}", f"trainer.accelerator={device}", "trainer.bar=false"]
    words += cut(recipe, epochs) if epochs else []
    words += ["trainer.threads=1"] if device == "cpu" else []
    with tempfile.TemporaryDirectory() as folder:
        run = (runs or Path(folder)) / f"{recipe.replace('/', '-')}-{seed}"
        command = [
            sys.executable,
            "-m",
            "ffcore",
            "run",
            recipe,
            *words,
            "--run-dir",
            str(run),
            "--no-report",
            "--auto-resume",
        ]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit(f"{recipe}: failed")
        results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
        with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
            epochs_of = list(csv.DictReader(file))
    costs = results["costs"]
    clock = "cpu_seconds" if device == "cpu" else "seconds"
    return {
        "on": device,
        "test_error": results["test"]["error"],
        "epochs": results["epochs"],
        "cut": epochs,
        "curve": [
            [int(row["epoch"]), float(row["val_accuracy"])] for row in epochs_of if row["val_accuracy"]
        ],
        "learning_s": costs["phases"]["learning"][clock],
        "validation_s": costs["phases"]["validation"][clock],
        "multiplications": costs["phases"]["learning"]["multiplications"],
        "joules": {
            name: sum(costs["phases"][phase]["joules"].get(name, 0.0) for phase in ("learning", "validation"))
            for name in costs["counters"]
        },
        "missing": costs["missing"],
        "peak_memory": results["peak_memory"],
        "device": f"{results['device']}, {processor()}",
        "commit": results["git_commit"],
    }


def cut(recipe: str, epochs: int) -> list[str]:
    """Return the overrides of a run of so many epochs; of so many for each layer that learns alone."""
    whole = load(recipe)
    if whole.schedule is None or whole.schedule.kind != "greedy":
        return [f"trainer.max_epochs={epochs}"]
    layers = whole.trainer.max_epochs // whole.model_dump()["schedule"]["epochs"]
    return [f"trainer.max_epochs={layers * epochs}", f"schedule.epochs={epochs}"]


def processor() -> str:
    """Return the name of the processor, as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor()


def reached(rows: Sequence[Mapping[str, Any]], accuracy: float) -> str:
    """Return the time of learning, and the epochs, to a validation accuracy; a dash if not all runs reach it.

    All epochs of a run count as equally long.
    """
    epochs = [next((epoch for epoch, value in row["curve"] if value >= accuracy), None) for row in rows]
    found = [
        (epoch, epoch * row["learning_s"] / row["epochs"])
        for epoch, row in zip(epochs, rows, strict=True)
        if epoch is not None
    ]
    if len(found) < len(rows):
        return "–"
    mean, seconds = (statistics.fmean(values) for values in zip(*found, strict=True))
    return f"{duration(seconds)}, {mean:.0f} epochs"


def cells(recipe: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the cells of our row: means over seeds."""

    def mean(key: str) -> float:
        return statistics.fmean(float(row[key]) for row in rows)

    known = [next((row["joules"][name] for name in COUNTERS if name in row["joules"]), None) for row in rows]
    used = None if None in known else statistics.fmean(joules for joules in known if joules is not None)
    made = [row["multiplications"] for row in rows if row["multiplications"] is not None]
    cut = rows[0]["cut"]
    return [
        f"`{recipe}`",
        f"ours, {len(rows)} run{'s' * (len(rows) > 1)}",
        f"{mean('test_error'):.2f} %",
        f"{mean('epochs'):.0f}{f', cut at {cut}' if cut else ''}",
        duration(_seconds(rows)),
        duration(_seconds(rows) / mean("epochs")),
        reached(rows, REACHED),
        energy(used) if used is not None else "not reported",
        memory(mean("peak_memory")),
        short(statistics.fmean(made)) if made else "–",
    ]


def table(kept: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return the table: for each recipe our row and theirs."""
    head = (
        "recipe",
        "who",
        "test error",
        "epochs",
        "time",
        "an epoch",
        f"to {100 * REACHED:g} %",
        "energy",
        "peak memory",
        "MACs",
    )
    lines = [f"| {' | '.join(head)} |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    for recipe in RECIPES:
        rows = list(kept.get(recipe, {}).values())
        if rows:
            lines.append(f"| {' | '.join(cells(recipe, rows))} |")
        if other := THEIRS.get(recipe):
            found = [other.get(key, "–") for key in ("error", "time", "energy", "memory")]
            error, time, used, peak = found
            lines.append(f"| `{recipe}` | audit | {error} | – | {time} | – | – | {used} | {peak} | – |")
    ratios = [
        f"`{recipe}` {_seconds(kept[recipe].values()) / _seconds(kept[twin].values()):.1f} ×"
        for recipe in RECIPES
        if recipe in kept and (twin := f"{recipe}-backprop") in kept
    ]
    lines += ["", f"Time relative to the twin's: {', '.join(ratios)}."] if ratios else []
    machines: dict[str, list[str]] = {}  # the recipes measured on each
    for recipe, by_seed in sorted(kept.items()):
        for device in sorted({row["device"] for row in by_seed.values()}):
            machines.setdefault(device, []).append(f"`{recipe}`")
    ours = [
        device + (f" ({', '.join(recipes)})" if len(machines) > 1 else "")
        for device, recipes in machines.items()
    ]
    why = sorted(
        {
            f"{name}: {reason}"
            for rows in kept.values()
            for row in rows.values()
            for name, reason in row["missing"].items()
        }
    )
    lines += ["", f"Our machine: {'; '.join(ours) or 'not measured yet'}. Theirs: NVIDIA A100-SXM4-40GB."]
    return "\n".join([*lines, *([f"Energy that is not reported: {'; '.join(why)}."] if why else [])])


def rows_in(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of a file by recipe and seed; none if there is no file."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def _seconds(rows: Iterable[Mapping[str, Any]]) -> float:
    """Return the mean time of learning and validation."""
    return statistics.fmean(float(row["learning_s"] + row["validation_s"]) for row in rows)


def main() -> None:
    """Measure recipes, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all of audit/*")
    parser.add_argument("--root", default="", help="directory of the data sets")
    parser.add_argument("--seeds", default="1", help="such as 1,2,3: a run for each")
    parser.add_argument(
        "--epochs", type=int, help="cut runs to so many epochs, or so many for each layer that learns alone"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument("--runs", type=Path, help="directory where runs stay, and are resumed")
    parser.add_argument("--keep", type=Path, default=KEPT, help="file of the rows")
    parser.add_argument("--write", type=Path, help="file for the page")
    options = parser.parse_args()
    for recipe in options.recipes or (() if options.write else RECIPES):
        if recipe not in RECIPES:
            parser.error(f"{recipe}: no recipe of the audit; known: {', '.join(RECIPES)}")
        for seed in options.seeds.split(","):
            if (known := rows_in(options.keep).get(recipe, {}).get(seed)) is not None:
                if (known["on"], known["cut"]) != (options.device, options.epochs):
                    parser.error(f"{options.keep} has {recipe} of another --device or --epochs; give --keep")
                print(f"{recipe}, seed {seed}: kept in {options.keep}", flush=True)
                continue
            row = measured(recipe, int(seed), options.root, options.epochs, options.device, options.runs)
            kept = rows_in(options.keep)  # again: another process may have written meanwhile
            kept.setdefault(recipe, {})[seed] = row
            write_json(options.keep, kept)
            print(recipe, seed, row, flush=True)
    if options.write is not None:
        text = PAGE.read_text(encoding="utf-8").replace("{table}", table(rows_in(options.keep)))
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
