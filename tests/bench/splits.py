"""Test errors of tables/breast-cancer-ff over ten test splits, beside its twin and a logistic regression.

    python tests/bench/splits.py

One test split has 114 samples: its error depends more on the split than on the method. The
goodness is chosen first, on validation samples of eight splits; the test samples choose nothing.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ffcore
from ffcore.data.python import PythonData

RECIPE = "tables/breast-cancer-ff"
SETTINGS: dict[str, dict[str, Any]] = {
    "sum of squares, logistic": {},
    "mean of squares, symba": {"block.goodness": "mean-squares", "block.objective": "symba"},
}


def errors(recipe: str, split: int, settings: dict[str, Any], validation: float) -> tuple[float, float]:
    """Validation and test error in percent of a run on one test split."""
    with tempfile.TemporaryDirectory() as folder:
        run = ffcore.train(
            recipe,
            run_dir=Path(folder) / "run",
            report=False,
            bar=False,
            **{"data.seed": split, "data.split_seed": split, "data.validation": validation, **settings},
        )
    return 100 * (1 - run.results["val"]["accuracy"]), 100 * (1 - run.results["test"]["accuracy"])


def logistic(split: int) -> float:
    """Test error in percent of a logistic regression on the same splits."""
    data = PythonData("sklearn.datasets:load_breast_cancer", {"return_X_y": True}, seed=split).load()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(data.train.x, data.train.y)
    return 100 * (1 - float(model.score(data.test.x, data.test.y)))


def show(name: str, values: list[float]) -> None:
    """Print mean and standard deviation."""
    print(f"{name}: {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %", flush=True)


def main() -> None:
    """Choose on validation, then test."""
    means = {}
    for name, settings in SETTINGS.items():
        found = [errors(RECIPE, split, settings, 0.25)[0] for split in range(8)]
        show(f"validation error, {name}", found)
        means[name] = statistics.mean(found)
    best = SETTINGS[min(means, key=lambda name: means[name])]
    show("test error", [errors(RECIPE, split, best, 0.1)[1] for split in range(10)])
    show("test error, backprop", [errors(f"{RECIPE}-backprop", split, {}, 0.1)[1] for split in range(10)])
    show("test error, logistic regression", [logistic(split) for split in range(10)])


if __name__ == "__main__":
    main()
