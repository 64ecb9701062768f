"""Learning without torch beside learning with it: accuracy, time, memory, sizes, adaptation.

    python tests/bench/edge.py --root DIR [accuracy|time|memory|sizes|adaptation ...]
    python tests/bench/edge.py --write docs/edge.md

DIR holds the MNIST files. All parts take about twenty minutes of a free core; figures are kept in
docs/results/edge.json as soon as they are measured, and a part that is named is measured again. --write
writes the page and its pictures.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from edge_cases import KEPT, Kept
from edge_costs import memory, sizes, times
from edge_learned import accuracy, adaptation
from edge_page import adaptation_curves, learning_curves, page


def keep(path: Path, part: str, figures: Kept) -> None:
    """Keep figures as they come."""
    for keys, figure in figures:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        inside = kept.setdefault(part, {})
        for key in keys[:-1]:
            inside = inside.setdefault(key, {})
        inside[keys[-1]] = rounded(figure)
        text = json.dumps(kept, indent=1)
        text = re.sub(r"\[[^][{}]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
        path.write_text(text + "\n", encoding="utf-8")
        print(part, *keys, flush=True)


def rounded(figure: Any) -> Any:
    if isinstance(figure, float):
        return round(figure, 5)
    if isinstance(figure, list | tuple):
        return [rounded(each) for each in figure]
    return {key: rounded(each) for key, each in figure.items()} if isinstance(figure, dict) else figure


PARTS: dict[str, Callable[[str], Kept]] = {
    "accuracy": accuracy,
    "time": times,
    "memory": memory,
    "sizes": sizes,
    "adaptation": adaptation,
}


def main() -> None:
    """Measure and keep, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", default="", help="directory of the MNIST files")
    parser.add_argument("--keep", type=Path, default=KEPT)
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("parts", nargs="*", help="default: all")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for part in options.parts or (PARTS if options.write is None else ()):
        keep(options.keep, part, PARTS[part](options.root))
    if options.write is not None:
        kept = json.loads(options.keep.read_text(encoding="utf-8"))
        options.write.write_text(page(kept), encoding="utf-8")
        learning_curves(kept["accuracy"])
        adaptation_curves(kept["adaptation"])


if __name__ == "__main__":
    main()
