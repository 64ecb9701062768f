"""Store the results of a finished run here: python docs/results/keep.py RUN [NAME].

Its results.json, with the validation curve of its metrics.csv and the settings of its recipe, but without
paths of this machine.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml
from kept import HERE, settings


def kept(run: Path) -> dict[str, Any]:
    """Returns the stored content of a run.

    Raises:
        SystemExit: the run cannot be repeated: it has no command, or ran uncommitted code.
    """
    results: dict[str, Any] = json.loads((run / "results.json").read_text(encoding="utf-8"))
    if "dirty" in (results["git_commit"] or "dirty"):
        raise SystemExit(f"{run}: ran uncommitted code")
    if results["command"] is None:
        raise SystemExit(f"{run}: no command made it")
    command = re.sub(r"data\.root=\S+", "data.root=DIR", results["command"])
    results["command"] = re.sub(r" (--run-dir \S+|trainer\.bar=false)", "", command)
    measure = f"val_{(results.get('task') or {}).get('headline', 'accuracy')}"
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(measure)]
    results["curve"] = [
        [int(row["epoch"]), float(row["seconds"]), round(float(row[measure]), 6)] for row in rows
    ]
    results["settings"] = settings(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")))
    return results


def main() -> None:
    """Write the file."""
    run = Path(sys.argv[1])
    results = kept(run)
    name = sys.argv[2] if len(sys.argv) > 2 else f"{results['recipe'].replace('/', '-')}-{results['seed']}"
    path = HERE / f"{name}.json"
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if any(there[key] != results[key] for key in ("command", "settings")):
            raise SystemExit(f"{path}: keeps another run, of {there['command']}; give this one a NAME")
    lines = (f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in results.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
