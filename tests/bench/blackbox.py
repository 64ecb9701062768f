"""Accuracy with a black box between two blocks: every family of local learning, and the controls.

    python tests/bench/blackbox.py --data digits|mnist|cifar10 [--root DIR] [--seeds 1,2,3] [BOX ...]
    python tests/bench/blackbox.py --devices
    python tests/bench/blackbox.py --write docs/blackbox.md

Takes half an hour of one core on digits, and an hour on MNIST or CIFAR-10. Accuracies are kept in
docs/results/blackbox.json; what is kept is not measured again.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import statistics
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pages
import torch
from around import BOXES, CONTROLS, FAMILIES, OWN, SETTINGS, UNITS, Case, possible

import ffcore.run.train as running
from ffcore_blackbox.crossbar import Crossbar

KEPT = Path(__file__).resolve().parents[2] / "docs" / "results" / "blackbox.json"
PAGE = Path(__file__).parent / "blackbox.md.in"


def measure(data: str, root: str, seeds: Sequence[int], boxes: Sequence[str], keep: Path) -> None:
    """Measure what is not kept yet; keep each figure at once."""
    for box in boxes:
        case = Case(data, root, box)
        for title, how in {**OWN, **CONTROLS}.items():
            for seed in seeds if possible(title, box) else ():
                kept = json.loads(keep.read_text(encoding="utf-8")) if keep.is_file() else {}
                row = kept.setdefault(data, {}).setdefault(box, {}).setdefault(title, {})
                if str(seed) not in row:
                    row[str(seed)] = round(100 * how(case, seed), 2)
                    keep.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
                    print(data, box, title, seed, row[str(seed)], flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def mean(kept: Mapping[str, float] | None) -> str:
    return pages.mean(list(kept.values()), 1) if kept else "–"


def tables(kept: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the families, the controls, and for each box the best of both with their difference."""
    found = [
        table(
            ["box", *titles],
            [[box, *(mean(row.get(title)) for title in titles)] for box, row in kept.items()],
        )
        for titles in (OWN, CONTROLS)
    ]
    best = []
    for box, row in kept.items():
        if not any(row.get(title) for title in CONTROLS):
            continue
        own, other, ahead, error = compared(row)
        best.append(
            [box, f"{mean(row[own])}, {own}", f"{mean(row[other])}, {other}", f"{ahead:+.1f} ± {error:.1f}"]
        )
    head = ["box", "best family", "best control", "difference ± standard error"]
    return "\n\n".join([*found, table(head, best)])


def compared(row: Mapping[str, Mapping[str, float]]) -> tuple[str, str, float, float]:
    """Return the best family, the best control, their difference and its standard error."""
    own, other = (
        max((title for title in titles if row.get(title)), key=lambda title: centre(row[title]))
        for titles in (OWN, CONTROLS)
    )
    error = sum(spread(row[title]) ** 2 / len(row[title]) for title in (own, other)) ** 0.5
    return own, other, centre(row[own]) - centre(row[other]), error


def spread(row: Mapping[str, float]) -> float:
    return statistics.stdev(row.values()) if len(row) > 1 else 0.0


def centre(row: Mapping[str, float]) -> float:
    return statistics.mean(row.values())


def devices(seeds: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """Crossbars with many faults: trained on one, tested on the same and on another."""
    faults = {"kind": "crossbar", "units": UNITS, "noise": 0.5, "hours": 1000.0, "dead": 0.2, "bits": 4}
    ideal = {"kind": "crossbar", "units": UNITS, "noise": 0.0, "dead": 0.0, "saturation": None, "bits": None}
    tested = {
        "on device A": {**faults, "device": 0},
        "on device B": {**faults, "device": 1},
        "on an ideal one": ideal,
    }
    made: dict[str, dict[str, dict[str, float]]] = {}
    for name, box in (("device A", {**faults, "device": 0}), ("an ideal crossbar", ideal)):
        BOXES[name] = box
        case = Case("digits", "", name)
        _, _, x, y = case.tensors()
        for seed in seeds:
            run = case.learned(FAMILIES["Forward-Forward"], seed)
            for title, other in tested.items():
                options = {key: value for key, value in other.items() if key != "kind"}
                run.module.network.boxes[0].box = Crossbar((UNITS,), **options)
                right = float((run.module.scores(x).argmax(1) == y).float().mean())
                made.setdefault(name, {}).setdefault(title, {})[str(seed)] = round(100 * right, 2)
    return made


def verdict(kept: Mapping[str, Any]) -> str:
    """Return a sentence with the boxes behind which a family is as good as the best control."""
    level, behind = [], []
    for data in SETTINGS:
        for box, row in kept.get(data, {}).items():
            if box == "none":
                continue
            _, _, ahead, error = compared(row)
            (level if ahead + error >= 0 else behind).append(f"{box} on {data}")
    every = len(level) + len(behind)
    text = f"Behind {len(level)} of {every} boxes the best family is at least as good as the best control, "
    text += "within one standard error of the difference"
    return f"{text}; it is worse behind {', '.join(behind)}." if behind else f"{text}."


def page(kept: Mapping[str, Any]) -> str:
    """Return the page of the docs."""
    text = PAGE.read_text(encoding="utf-8")
    for data in SETTINGS:
        text = text.replace(f"{{{data}}}", tables(kept[data]) if data in kept else "Not measured yet.")
    text = text.replace("{verdict}", verdict(kept))
    crossed = kept["devices"]
    titles = list(next(iter(crossed.values())))
    rows = [[name, *(mean(row[title]) for title in titles)] for name, row in crossed.items()]
    return text.replace("{devices}", table(["trained with", *titles], rows))


def main() -> None:
    """Measure and keep, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", choices=tuple(SETTINGS))
    parser.add_argument("--root", default="", help="directory of the data sets")
    parser.add_argument("--devices", action="store_true", help="measure crossbars with many faults")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--keep", type=Path, default=KEPT)
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("boxes", nargs="*", help="default: all")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    running.write_report = lambda *args: Path()  # type: ignore[assignment]
    if options.data:
        measure(options.data, options.root, seeds, options.boxes or list(BOXES), options.keep)
    if options.devices:
        kept = json.loads(options.keep.read_text(encoding="utf-8")) if options.keep.is_file() else {}
        kept["devices"] = devices(seeds)
        options.keep.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if options.write is not None:
        kept = json.loads(options.keep.read_text(encoding="utf-8"))
        options.write.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
