"""Every forward-only rule on the same data in the same time.

    python tests/bench/shelf.py --data mnist --root DIR [--minutes 10] [METHOD ...]
    python tests/bench/shelf.py --write docs/shelf.md

A method is a recipe with its own settings, on MNIST without augmentation. It learns for as many epochs as
fit into the given minutes of one core; its learning-rate schedule is complete. The number of epochs comes
from a run of one epoch, or of one a layer; where that takes longer, the method has no row. A method with a
number of epochs of its own, such as a closed form, runs as its recipe says. Times are those of the processor,
so that other work on the machine changes them little. One run a method, seed 1, in a process of its own; the
rows are kept in docs/results/shelf.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ffcore.recipe.load import load

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "results" / "shelf.json"
PAGE = Path(__file__).parent / "shelf.md.in"

# a method: its name in the table, the family, the recipe of each data set
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "backprop": ("end to end", {"mnist": "mnist/predsim-backprop", "cifar10": "cifar10/fast-backprop"}),
    "Forward-Forward": ("goodness", {"mnist": "mnist/ff"}),
    "channel classes": ("goodness", {"mnist": "mnist/channel-tinycnn", "cifar10": "cifar10/channel-small"}),
    "ASGE": ("goodness", {"mnist": "mnist/asge"}),
    "predictive FF": ("goodness", {"mnist": "mnist/pff-small"}),
    "signal propagation": ("similarity", {"mnist": "mnist/sigprop", "cifar10": "cifar10/sigprop"}),
    # of CIFAR-10 an epoch of cifar10/vgg8b-predsim, with 2.7 G multiplications a sample, takes over an hour
    "predsim": ("local classifiers", {"mnist": "mnist/predsim"}),
    "local classifiers": ("local classifiers", {"cifar10": "cifar10/fast"}),
    "Mono-Forward": ("local classifiers", {"mnist": "mnist/mono-forward"}),
    "Scalable FF": ("local classifiers", {"mnist": "mnist/sff"}),
    "TinyFoA": ("local classifiers", {"mnist": "mnist/tinyfoa"}),
    "CaFo": ("local classifiers", {"mnist": "mnist/cafo"}),
    "CaFo, closed form": ("closed form", {"cifar10": "cifar10/cafo-ridge"}),
    "Forward Projection": ("closed form", {"mnist": "mnist/forward-projection"}),
    "NoProp": ("denoising", {"mnist": "mnist/noprop", "cifar10": "cifar10/noprop"}),
    "PEPITA": ("error forward", {"mnist": "mnist/pepita"}),
    "FFzero": ("without derivatives", {"mnist": "mnist/ffzero"}),
    "SCFF": ("no labels in the features", {"mnist": "mnist/scff"}),
    "SoftHebb": ("no labels in the features", {"cifar10": "cifar10/softhebb"}),
}
# epochs of its own: a layer in each, or the layers in the first and a readout in those that are left
FIXED = ("CaFo, closed form", "Forward Projection", "SCFF", "SoftHebb")
LEAST = {"FFzero": 3, "TinyFoA": 4}
"""Epochs of the first run where layers learn one after the other."""

CHILD = """
import json, sys, time
import ffcore.run.train
start = time.process_time()
run = ffcore.train(sys.argv[1], run_dir=sys.argv[2], report=False, **json.loads(sys.argv[3]))
print(json.dumps(time.process_time() - start))
"""


def learned(recipe: str, epochs: int, changes: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the results of a run in a process of its own, and its seconds of learning on the processor."""
    trainer = {"max_epochs": epochs, "validate_every": epochs, "patience": None, "threads": 1, "bar": False}
    options = {"seed": 1, **changes, **{f"trainer.{key}": value for key, value in trainer.items()}}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-c", CHILD, recipe, str(run), json.dumps(options)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{recipe}: failed")
        results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return results, float(done.stdout.splitlines()[-1]) * results["train_s"] / results["wall_s"]


def measured(method: str, data: str, root: str, minutes: float) -> dict[str, Any]:
    """Return the row of a method."""
    recipe = METHODS[method][1][data]
    changes: dict[str, Any] = {"data.root": root, **({"data.augment": []} if data == "mnist" else {})}
    if method in FIXED:
        epochs = load(recipe).trainer.max_epochs
    else:
        least = LEAST.get(method, 1)
        of_epoch = learned(recipe, least, changes)[1] / least
        epochs = int(60 * minutes / of_epoch)
        if not epochs:
            return {"recipe": recipe, "minutes": minutes, "epoch_s": round(of_epoch, 1)}
    results, seconds = learned(recipe, epochs, changes)
    blocks = results["blocks"]
    return {
        "recipe": recipe,
        "commit": results["git_commit"],
        "epochs": epochs,
        "minutes": minutes,
        "family": METHODS[method][0],
        "learning_s": round(seconds, 1),
        "test_error": round(results["test"]["error"], 2),
        "validation_error": round(100 - 100 * results["val"]["accuracy"], 2),
        "parameters": sum(b["parameters"] for b in blocks),
        "head_parameters": results["parameters"] - sum(b["parameters"] for b in blocks),
        "multiplications": sum(b.get("multiplications", 0) for b in blocks),
        "head_multiplications": sum(b.get("head_multiplications", 0) for b in blocks),
        "peak_memory": results["peak_memory"],
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the rows of a data set as a table, in the order of their test errors."""
    if not rows:
        return "Not measured yet."
    titles = (
        "method | family | test error | validation | epochs | time | parameters | with heads | million MACs"
    )
    lines = [f"| {titles} | memory |", "| --- | --- |" + " ---: |" * 8]
    measured = {method: row for method, row in rows.items() if "test_error" in row}
    for method, row in sorted(measured.items(), key=lambda item: item[1]["test_error"]):
        cells = (
            f"[{method}](../recipes/{row['recipe']}.yaml)",
            row["family"],
            f"{row['test_error']:.2f} %",
            f"{row['validation_error']:.2f} %",
            row["epochs"],
            f"{row['learning_s'] / 60:.1f} min",
            f"{row['parameters']:,}",
            f"{row['parameters'] + row['head_parameters']:,}",
            f"{(row['multiplications'] + row['head_multiplications']) / 1e6:.1f}",
            f"{row['peak_memory'] / 2**20:,.0f} MiB",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for method in sorted(rows.keys() - measured.keys()):
        row = rows[method]
        link = f"[{method}](../recipes/{row['recipe']}.yaml)"
        lines += ["", f"No row for {link}: one epoch takes {row['epoch_s'] / 60:.1f} minutes."]
    return "\n".join(lines)


def main() -> None:
    """Measure methods, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", help="default: those that are not kept yet")
    parser.add_argument("--data", choices=("mnist", "cifar10"))
    parser.add_argument("--root", default="", help="directory of the data sets")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, default=KEPT)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()

    def kept() -> dict[str, dict[str, Any]]:
        return json.loads(given.keep.read_text(encoding="utf-8")) if given.keep.exists() else {}

    if given.data:
        possible = [name for name, (_, recipes) in METHODS.items() if given.data in recipes]
        for method in given.methods or [name for name in possible if name not in kept().get(given.data, {})]:
            row = measured(method, given.data, given.root, given.minutes)
            print(f"{method}: {row}", flush=True)
            rows = kept()  # read again: another process may have written
            rows.setdefault(given.data, {})[method] = row
            given.keep.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if given.write is not None:
        page = PAGE.read_text(encoding="utf-8")
        for data in ("mnist", "cifar10"):
            page = page.replace("{" + data + "}", table(kept().get(data, {})))
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
