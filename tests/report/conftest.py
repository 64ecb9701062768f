from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffcore.plugin import manager
from ffcore.report import document, write, write_report

CLOTHES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
FakeRun = Callable[..., Path]
Only = Callable[..., None]


@pytest.fixture(autouse=True)
def no_plugins() -> Iterator[manager.Plugins]:
    plugins = manager.Plugins()
    manager.use(plugins)
    yield plugins
    manager.use(None)


@pytest.fixture
def fake_run(tmp_path: Path) -> FakeRun:
    def make(**options: Any) -> Path:
        return write_run(tmp_path / "run", **options)

    return make


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a report, written once for all tests that only read it."""
    run = write_run(tmp_path_factory.mktemp("written") / "run")
    manager.use(manager.Plugins())
    write_report(run)
    manager.use(None)
    return run


@pytest.fixture(scope="session")
def again(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, with its report written a second time."""
    run = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(written, run)
    manager.use(manager.Plugins())
    write_report(run)
    manager.use(None)
    return run


@pytest.fixture
def small_run(fake_run: FakeRun) -> Path:
    """A run with few results."""
    run = fake_run()
    for name in ("metrics.csv", "arrays.npz"):
        (run / name).unlink()
    (run / "results.json").write_text('{"recipe": "fake-ff"}')
    return run


@pytest.fixture
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn into PNG files only, not again as SVG for the page."""
    monkeypatch.setattr(document, "_svg", lambda figure: '<svg xmlns="http://www.w3.org/2000/svg"/>')


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    """Restrict the report to these sections, the overview and the sections of plugins."""

    def leave(*names: str) -> None:
        monkeypatch.setattr(write, "SECTIONS", {name: write.SECTIONS[name] for name in names})

    return leave


def write_run(
    path: Path,
    blocks: int = 2,
    epochs: int = 5,
    goodness: bool = True,
    shape: tuple[int, ...] = (1, 8, 8),
    classes: list[str] | None = None,
    without: tuple[str, ...] = (),
    threshold: float | None = 10.0,
) -> Path:
    path.mkdir()
    rng = np.random.default_rng(0)
    names = [f"dense{i + 1}" for i in range(blocks)]
    sources = names if goodness else names[-1:]
    classes = classes or [str(k) for k in range(4)]
    results = _results(names, sources, classes, shape, rng)
    (path / "config.yaml").write_text("name: fake\n")
    (path / "results.json").write_text(json.dumps({k: v for k, v in results.items() if k not in without}))
    _write_metrics(path / "metrics.csv", names, sources, epochs, goodness)
    arrays: dict[str, Any] = {
        f"receptive/{names[0]}": rng.normal(size=(20, *shape)).cumsum(2).cumsum(3),
        "examples/x": rng.random((6, *shape)),
        "examples/y": np.arange(6) % len(classes),
        "examples/predicted": np.arange(1, 7) % len(classes),
    }
    for depth, name in enumerate(names if goodness else []):
        arrays[f"goodness/{name}/positive"] = rng.normal(12 - depth, 2, 300).astype("float32")
        arrays[f"goodness/{name}/negative"] = rng.normal(8, 2, 300).astype("float32")
        if threshold is not None:
            arrays[f"threshold/{name}"] = np.array(threshold)
    np.savez(path / "arrays.npz", **arrays)
    return path


def _results(
    names: list[str], sources: list[str], classes: list[str], shape: Any, rng: Any
) -> dict[str, Any]:
    confusion = rng.integers(0, 4, (len(classes),) * 2) + 90 * np.eye(len(classes), dtype=int)
    accuracy = float(confusion.trace() / confusion.sum())
    alone = {name: accuracy - 0.02 * (i + 1) for i, name in enumerate(sources)}
    return {
        "recipe": "fake-ff",
        "title": "A fake | run",
        "seed": 3,
        "git_commit": "abc1234",
        "device": "cpu",
        "threads": 2,
        "versions": {"torch": "2.13"},
        "parameters": 123456,
        "epochs": 5,
        "steps": 500,
        "wall_s": 75.0,
        "train_s": 62.0,
        "samples_per_s": 12345.6,
        "peak_memory": 300 * 2**20,
        "data": {
            "name": "fake",
            "shape": list(shape),
            "classes": classes,
            "train": 900,
            "validation": 100,
            "test": int(confusion.sum()),
            "provenance": {},
        },
        "split": {"validation": {"from": "train", "count": 100, "seed": 0}},
        "blocks": [{"name": name, "shape": [64], "parameters": 100} for name in names],
        "val": {"accuracy": 0.95, "per_block_accuracy": alone},
        "test": {
            "accuracy": accuracy,
            "error": 100 * (1 - accuracy),
            "per_block_accuracy": alone,
            "confusion": confusion.tolist(),
        },
        "paper": {"test_error": 1.36, "source": "Hinton 2022, section 3.3, read from the text", "epochs": 60},
        "sources": [{"name": name, "kind": "block"} for name in sources],
        "contribution": "skip-first",
        "selected": "last",
        "epoch_selected": 5,
        "command": "ffcore run fake/ff seed=3",
    }


def _write_metrics(path: Path, names: list[str], sources: list[str], epochs: int, goodness: bool) -> None:
    columns = ["epoch", "val_accuracy", *(f"val/{name}" for name in sources)]
    for name in names:
        columns += [f"{name}/{what}" for what in ("loss", "positive", "negative", "separation")]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        for epoch in range(1, epochs + 1):
            row: dict[str, Any] = {"epoch": epoch}
            for depth, name in enumerate(names):
                row[f"{name}/loss"] = (depth + 1) / epoch
                if goodness:
                    row[f"{name}/separation"] = epoch * (1 + depth)
            if epoch != 2:  # an epoch without validation
                row |= {"val_accuracy": 1 - 0.5 / epoch}
                row |= {f"val/{name}": 1 - 0.6 / epoch for name in sources}
            writer.writerow(row)


def as_task(
    run: Path, headline: str = "r2", lower: bool = False, sources: tuple[str, ...] = ("dense1", "dense2")
) -> Path:
    """Make a run one of a task with this headline, whose values are the accuracies of `write_run`."""
    results = json.loads((run / "results.json").read_text())
    for split in ("test", "val"):
        of_classes = results[split]
        alone = {name: of_classes["per_block_accuracy"][name] for name in sources}
        results[split] = {headline: of_classes["accuracy"], "mae": 1234.5, "per_block": alone}
    results |= {"task": {"name": "Other", "headline": headline, "lower": lower}, "paper": None}
    (run / "results.json").write_text(json.dumps(results))
    metrics = run / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("val_accuracy", f"val_{headline}"))
    return run


def add_history(
    run: Path, epochs: int = 12, bins: int = 16, blocks: tuple[str, ...] = ("dense1", "dense2")
) -> None:
    """Add histograms of goodness after each epoch, which separate over time."""
    rng = np.random.default_rng(1)
    with np.load(run / "arrays.npz") as kept:
        arrays: dict[str, Any] = dict(kept)
    arrays["history/epochs"] = np.arange(1, epochs + 1)
    for block in blocks:
        made: dict[str, list[Any]] = {"edges": [], "positive": [], "negative": []}
        for epoch in range(1, epochs + 1):
            sides = rng.normal(10 + epoch, 2, 200), rng.normal(10 - epoch, 2, 200)
            edges = np.histogram_bin_edges(np.concatenate(sides), bins)
            made["edges"].append(edges)
            for name, values in zip(("positive", "negative"), sides, strict=True):
                made[name].append(np.histogram(values, edges)[0])
        arrays |= {f"history/{block}/{name}": np.stack(values) for name, values in made.items()}
    np.savez(run / "arrays.npz", **arrays)
