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
import copy
import ctypes
import json
import re
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pages
import real
import torch
from torch import Tensor
from turns import Requests, Turn, alternate, apart, loop

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.edge import Learner
from ffcore.edge import load as load_bundle
from ffcore.edge.random import order
from ffcore.exports import Training, export
from ffcore.exports.c99 import write_c
from ffcore.exports.profiles import PROFILES
from ffcore.exports.run import of_run
from ffcore.network import Network
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe
from ffcore.report import style
from ffcore.run.data import Data
from ffcore.run.recorded import recipe_of
from ffcore.run.train import train

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "results" / "edge.json"
PICTURES = ROOT / "docs" / "pictures"
PAGE = Path(__file__).parent / "edge.md.in"
SMALL = [{"kind": "dense", "units": 500, "repeat": 3}]
MNIST = {"network": SMALL}
"""3×500 in place of the 3×1000 of mnist/ff."""

# the shapes, the overrides and the epochs of the accuracy of each case
DIGITS = ((1, 8, 8), {})
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "digits/ff": DIGITS,
    "digits/mono-forward": DIGITS,
    "digits/channel": DIGITS,
    "digits/forward-projection": DIGITS,
    "mnist/ff": ((1, 28, 28), MNIST),
    "cifar10/channel-small": ((3, 32, 32), {}),
}
EPOCHS = {
    "digits/ff": 20,
    "digits/mono-forward": 20,
    "digits/channel": 20,
    "digits/forward-projection": 3,
    "mnist/ff": 5,
}
ENGINES = {"ONNX Runtime": False, "int8": True}
MADE = ("ONNX Runtime", "graph per block", "fixed rows", "int8")
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda x: 255 - x,
    "shifted by 4 pixels": lambda x: np.pad(x, ((0, 0), (0, 0), (0, 0), (4, 0)))[..., :-4],
}
IMAGES = (500, 2_000, 10_000)
BATCH = 20
MEASURED = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)
ADAM = {"data.kind": "mnist", "data.batch_size": 100, "data.validation": 10_000}
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "Mono-Forward, Adam": ("mnist/mono-forward", {"data.validation": 10_000}),
    "Forward-Forward, Adam": ("digits/ff", ADAM),
    "Forward-Forward, SGD": ("mnist/ff", {}),
}
"""Networks of 3×500 that adapt; the first one is drawn."""
TINY, LARGE = "3×4", "3×2000"
HELD: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    f"Forward-Forward, {TINY}": ("digits/ff", (1, 8, 8), 4),
    "`digits/ff`, 3×500": ("digits/ff", (1, 8, 8), None),
    "`mnist/ff`, 3×500": ("mnist/ff", (1, 28, 28), 500),
    f"Forward-Forward of 1×28×28, {LARGE}": ("digits/ff", (1, 28, 28), 2000),
    "`cifar10/channel-small`": ("cifar10/channel-small", (3, 32, 32), None),
}
"""Networks whose memory is measured: recipe, shape, units of three layers in place of the recipe's."""
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}
BLOCKS = ("rows", "per_block")
KINDS: dict[str, tuple[tuple[str, ...], bool, dict[str, str]]] = {
    "one graph": ((), True, {}),
    "one graph, fixed rows": (("rows",), True, {}),
    "a graph per block, fixed rows": (BLOCKS, True, {}),
    "a graph per block, sessions dropped": (BLOCKS, False, {}),
    "a graph per block, sessions dropped, `MALLOC_MMAP_THRESHOLD_=65536`": (BLOCKS, False, RETURNED),
}
"""Options of the export, whether sessions are kept, and environment variables."""
Kept = Iterator[tuple[tuple[str, ...], Any]]
"""Figures with the keys under which they are kept."""


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


# -- accuracy ------------------------------------------------------------------------------------------------


class Curve(L.Callback):
    """Measures the test accuracy after every epoch."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.found: list[float] = []

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        net = copy.deepcopy(pl_module.net).eval()
        right = torch.cat([net.scores(rows).argmax(1) for rows in self.x.split(500)]) == self.y
        self.found.append(float(right.float().mean()))


def accuracy(root: str) -> Kept:
    """Yield test accuracies after every epoch, by recipe, engine and seed."""
    for name, epochs in EPOCHS.items():
        for seed in (1,) if name.startswith("mnist") else (1, 2, 3):
            changes = {"trainer.max_epochs": epochs, "trainer.threads": 1, "seed": seed, **CASES[name][1]}
            if name.startswith("mnist"):
                changes["data.root"] = root
            with folder() as where:
                yield from accuracies(name, seed, epochs, where, load(name, changes))


def accuracies(name: str, seed: int, epochs: int, where: Path, recipe: Recipe) -> Kept:
    """Yield those of one run: with torch, and from its initial weights with its random numbers without."""
    data = Data.open(recipe)
    x, y = np.asarray(data.images.test.x), np.asarray(data.images.test.y)
    stored = {"scale": data.images.scale, "mean": data.mean, "std": data.std}
    curve = Curve(scaled(stored, x), torch.as_tensor(y))
    train(recipe, where / "run", report=False, callbacks=[curve])
    yield (name, "torch", str(seed)), curve.found
    net, training = of_run(where / "run", initial=True)
    for engine, int8 in ENGINES.items():
        learner = Learner(load_bundle(export(net, where / engine, training=training, int8=int8)))
        found: list[float] = []
        for _ in range(epochs):
            learner.learn(data.train.x, data.train.y, epochs=1)
            found.append(learner.evaluate(x, y))
        yield (name, engine, str(seed)), found
    if name == "digits/ff":
        rows = scaled(stored, np.asarray(data.train.x)).flatten(1).numpy()
        tests = scaled(stored, x).flatten(1).numpy()
        yield (name, "C99", str(seed)), in_c(net, training, (rows, np.asarray(data.train.y)), (tests, y))


def scaled(stored: Mapping[str, Any], x: np.ndarray) -> Tensor:
    """Return inputs of a network from stored values, as the loader does."""
    values = torch.as_tensor(np.asarray(x)).float() * stored["scale"]
    shape = (-1, *[1] * (values.dim() - 2))
    return (values - torch.tensor(stored["mean"]).view(shape)) / torch.tensor(stored["std"]).view(shape)


# -- C -------------------------------------------------------------------------------------------------------


def library(net: Network, where: Path) -> ctypes.CDLL:
    """Return a compiled network."""
    write_c(net, where, overwrite=True)
    command = ["cc", "-O2", "-std=c99", "-shared", "-fPIC", "ffnet.c", "-o", "net.so", "-lm"]
    subprocess.run(command, cwd=where, check=True)
    made = ctypes.CDLL(str(where / "net.so"))
    made.ffnet_learn.restype = ctypes.c_float
    return made


def pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def in_c(
    net: Network,
    training: Training,
    learned: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> list[float]:
    """Return accuracies after every epoch of learning in C, one sample after another."""
    (x, y), epochs = learned, training.epochs
    with folder() as where:
        made = library(net, where)
        chance = np.random.default_rng(net.seed)
        rates = (ctypes.c_float * len(net.blocks)).in_dll(made, "ffnet_rate")
        first, found = list(rates), []
        scores = np.zeros(net.classes, np.float32)
        for epoch in range(epochs):
            for i, rate in enumerate(first):
                rates[i] = rate * (training.rate(epoch, epochs) if training.rate else 1.0)
            for n in order(net.seed, epoch, len(x)):
                wrong = (y[n] + chance.integers(1, net.classes)) % net.classes
                made.ffnet_learn(pointer(x[n]), int(y[n]), int(wrong), None)
            made_of = [made.ffnet_predict(pointer(row), pointer(scores)) for row in test[0]]
            found.append(float(np.mean(np.array(made_of) == test[1])))
    return found


# -- time ----------------------------------------------------------------------------------------------------


def network(name: str) -> tuple[Network, int]:
    """Return a network of a case with random weights, and its batch size."""
    shape, changes = CASES[name]
    return ffcore.from_recipe(name, shape=shape, classes=10, **changes), load(name).data.batch_size


def in_a_run(name: str, requests: Requests) -> None:
    """Run a recipe as `ffcore run` does on random images, in a separate process."""
    shape, changes = CASES[name]
    more = {"trainer.threads": 1, "trainer.max_epochs": 1000, "data.validation": 0}
    more |= {"trainer.accelerator": "cpu", "data.standardise": False, "data.augment": []}
    random = np.random.default_rng(0)
    x, y = random.integers(256, size=(20_000, *shape), dtype=np.uint8), random.integers(10, size=20_000)
    with folder() as run_dir:
        steps = real._TakesSteps(requests)
        recipe = load(name, {**changes, **more})
        train(recipe, run_dir / "run", dataset=InMemory(x, y, x[:100], y[:100]), callbacks=[steps])


def times(root: str) -> Kept:
    """Yield milliseconds of a step, and the seconds of a start."""
    rounds = {"digits": 9, "mnist": 5, "cifar10": 3}
    for name in (*(each for each in CASES if each != "digits/forward-projection"),):
        net, size = network(name)
        data = name.partition("/")[0]
        steps = {"digits": 40, "mnist": 10, "cifar10": 2}[data]
        with folder() as where, apart({"ffcore run": partial(in_a_run, name)}) as running:
            contestants: dict[str, Turn] = {"net.learn": loop(torch_step(net, size)), **running}
            for engine, int8 in ENGINES.items():
                contestants[engine] = loop(edge_step(net, size, where / engine.replace(" ", "-"), int8=int8))
            contestants["graph per block"] = loop(edge_step(net, size, where / "blocks", per_block=True))
            contestants["fixed rows"] = loop(edge_step(net, size, where / "rows", rows=size))
            found = alternate(contestants, rounds[data], steps)
        yield (name, f"batches of {size}"), {key: list(each.ms) for key, each in found.items()}
        if name in ("digits/ff", "mnist/ff"):
            if name == "mnist/ff":  # without the readout and the hard negatives drawn from it, which C lacks
                net = ffcore.from_recipe("digits/ff", shape=(1, 28, 28), classes=10)
            with folder() as where:
                alone = {"net.learn": loop(torch_step(net, 1))}
                alone["ONNX Runtime"] = loop(edge_step(net, 1, where / "one"))
                alone["C99"] = loop(c_step(net, where / "c"))
                found = alternate(alone, rounds[data], steps)
            yield (name, "one sample"), {key: list(each.ms) for key, each in found.items()}
    yield from starts()


def torch_step(net: Network, size: int) -> Callable[[], None]:
    x, y = torch.rand(size, *net.shape), torch.randint(net.classes, (size,))
    return lambda: net.learn(x, y)


def edge_step(net: Network, size: int, where: Path, **options: Any) -> Callable[[], Any]:
    export(net, where, training=Training(batch_size=size), **options)
    learner = Learner(load_bundle(where, threads=1, check=False))
    random = np.random.default_rng(0)
    x, y = random.random((size, *net.shape), np.float32), random.integers(net.classes, size=size)
    return lambda: learner.step(x, y)


def c_step(net: Network, where: Path) -> Callable[[], Any]:
    made = library(net, where)
    x = np.random.default_rng(0).random(int(np.prod(net.shape)), np.float32)
    return lambda: made.ffnet_learn(pointer(x), 1, 2, None)


START = """
import time; began = time.perf_counter()
import sys
import numpy as np
from ffcore.edge import Learner, load
imported = time.perf_counter()
learner = Learner(load(sys.argv[1], check=sys.argv[2] == "1"))
loaded = time.perf_counter()
x = np.zeros((learner.bundle.about.batch_size, *learner.bundle.about.shape), np.float32)
learner.step(x, np.zeros(len(x), np.int64))
print(imported - began, loaded - imported, time.perf_counter() - loaded)
"""


def starts() -> Kept:
    """Yield seconds of import, load and first step, with and without the golden step."""
    for name in ("digits/ff", "mnist/ff"):
        net, size = network(name)
        with folder() as where:
            export(net, where / "b", training=Training(batch_size=size))
            for check, title in (("1", "checked"), ("0", "not checked")):
                found = []
                for _ in range(9):
                    printed = child(START, str(where / "b"), check)
                    found.append([float(each) for each in printed.split()])
                middle = [statistics.median(each) for each in zip(*found, strict=True)]
                yield ("start", name, title), [*middle, statistics.median(map(sum, found))]


def child(code: str, *arguments: str, **setting: str) -> str:
    command, where = [sys.executable, "-c", code, *arguments], os.environ | setting
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=where).stdout


# -- memory --------------------------------------------------------------------------------------------------

MEMORY = """
import re, sys
import numpy as np
import onnxruntime
from ffcore.edge import Learner, load

def kb(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1])

def peak():
    held = kb("VmHWM")
    open("/proc/self/clear_refs", "w").write("5")
    return held

path, keep, check, steps = sys.argv[1], sys.argv[2] == "1", sys.argv[3] == "1", int(sys.argv[4])
peak()
imported = kb("VmRSS")
learner = Learner(load(path, check=check, keep_sessions=keep))
about = learner.bundle.about
x = np.random.default_rng(0).random((about.batch_size, *about.shape), np.float32)
y = np.arange(len(x)) % about.columns
loaded, at_load = kb("VmRSS"), peak()
for _ in range(steps):
    learner.step(x, y)
print(imported, loaded, at_load, kb("VmRSS"), kb("VmHWM"))
"""


def memory(root: str) -> Kept:
    """Yield what a process holds while it learns, in bytes, beside what the cost sheet counts."""
    for name, (recipe, shape, units) in HELD.items():
        changes = {} if units is None else {"network": [{"kind": "dense", "units": units, "repeat": 3}]}
        net = ffcore.from_recipe(recipe, shape=shape, classes=10, **changes)
        size = load(recipe).data.batch_size
        with folder() as where:
            for kind, (options, keep, setting) in KINDS.items():
                path = where / "-".join(["bundle", *options])
                if not path.exists():
                    rows = {"rows": size} if "rows" in options else {}
                    more = {each: True for each in options if each != "rows"}
                    export(net, path, training=Training(batch_size=size), **rows, **more)
                about = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
                arguments = (str(path), str(int(keep)), "0", "10")
                runs = [child(MEMORY, *arguments, **setting).split() for _ in range(3)]
                values = [
                    int(statistics.median(1024 * int(v) for v in each)) for each in zip(*runs, strict=True)
                ]
                keys = ("imported", "loaded", "peak of loading", "learned", "peak of learning")
                found = dict(zip(keys, values, strict=True)) | counted(about, size)
                if "rows" in options:
                    found["alive"] = alive(path, about)
                yield (name, kind), found


def alive(path: Path, about: Mapping[str, Any]) -> int | None:
    """Return the bytes of the state and the most bytes of other values that a step needs at once.

    A value lives from the operator that makes it to the last one that reads it, in the order of the graph;
    results live to its end. An engine that computes nothing in place holds no less. None: unknown shapes.
    """
    import onnx

    state = sum(counted(about, about["batch_size"])[part] for part in ("weight", "optimizer", "sums"))
    most = 0
    for entry in about["phases"][0]["graphs"]:
        graph = onnx.shape_inference.infer_shapes(onnx.load(path / entry["file"]), data_prop=True).graph
        sizes = {}
        for value in (*graph.value_info, *graph.output, *graph.input):
            tensor = value.type.tensor_type
            if not tensor.elem_type:  # onnx cannot tell
                return None
            item = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
            sizes[value.name] = item * int(np.prod([side.dim_value or 1 for side in tensor.shape.dim]))
        last = {name: i for i, node in enumerate(graph.node) for name in node.input}
        staying = {value.name for value in (*graph.input, *graph.output)}
        live = sum(sizes[value.name] for value in graph.input if value.name not in about["state"])
        for i, node in enumerate(graph.node):
            live += sum(sizes.get(name, 0) for name in node.output)
            most = max(most, live)
            ended = [name for name in set(node.input) if last[name] == i and name not in staying]
            live -= sum(sizes.get(name, 0) for name in ended)
    return state + most


def counted(about: Mapping[str, Any], size: int) -> dict[str, int]:
    """Return bytes that the cost sheet counts, and those of the two largest neighbouring activities."""
    sheet = next(
        each
        for each in about["cost"]["memory"]
        if (each["method"], each["numbers"], each["batch_size"]) == ("by block", "float32", size)
    )
    parts: dict[str, int] = {"weight": 0, "optimizer": 0, "sums": 0}
    for state in about["state"].values():
        parts[state["part"]] += int(np.prod(state["shape"])) * np.dtype(state["dtype"]).itemsize
    return {
        **parts,
        "gradient": sheet["gradient"],
        "activities": sheet["activities"],
        "total": sheet["total"],
    }


# -- sizes ---------------------------------------------------------------------------------------------------


def sizes(root: str) -> Kept:
    """Yield bytes of bundles, of the environments and of the wheels."""
    for name in ("digits/ff", "digits/mono-forward", "digits/channel", "mnist/ff", "cifar10/channel-small"):
        net, _ = network(name)
        with folder() as where:
            made = {}
            for title, options in (("float32", {}), ("int8", {"int8": True})):
                path = export(net, where / title, "predict", **options)
                made[title] = {each.name: each.stat().st_size for each in path.iterdir()}
        yield ("bundle", name), made
    for title, names in {
        "device: numpy, onnxruntime": ("numpy", "onnxruntime"),
        "workstation: ffcore[edge]": ("ffcore", "onnxruntime", "onnx", "onnxscript"),
    }.items():
        found = closure(names)
        yield (
            ("environment", title),
            {
                "bytes": sum(found.values()),
                "packages": len(found),
                "largest": dict(sorted(found.items(), key=lambda each: -each[1])[:4]),
            },
        )
    for title, source in {"ffcore-edge": ROOT / "ffcore" / "edge", "ffcore": ROOT}.items():
        with folder() as where:
            command = [
                sys.executable,
                "-m",
                "build",
                "--wheel",
                "--no-isolation",
                "--outdir",
                str(where),
                str(source),
            ]
            subprocess.run(command, check=True, capture_output=True)
            yield ("wheel", title), next(where.glob("*.whl")).stat().st_size


def closure(names: Sequence[str]) -> dict[str, int]:
    """Return the bytes of installed packages and of all that they need."""
    found: dict[str, int] = {}
    left = list(names)
    while left:
        name = left.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        files = [Path(str(each.locate())) for each in package.files or ()]
        found[name] = sum(file.stat().st_size for file in files if file.is_file())
        left += [re.split(r"[^\w.-]", each)[0] for each in package.requires or () if "extra" not in each]
    return found


# -- adaptation ----------------------------------------------------------------------------------------------


def adaptation(root: str) -> Kept:
    """Yield accuracies on ordinary and on changed images, before and while a device learns."""
    for name, (recipe, changes) in NETS.items():
        overrides = {
            **changes,
            "trainer.max_epochs": 3,
            "trainer.threads": 1,
            "data.root": root,
            "network": SMALL,
        }
        with folder() as where:
            train(load(recipe, overrides), where / "run", report=False)
            data = Data.open(recipe_of(where / "run"))
            net, training = of_run(where / "run", batch_size=BATCH, epochs=1, rate=None)
            bundle = export(net, where / "bundle", training=training)
            for title, change in CHANGES.items():
                for kept in (0, 500):
                    yield (name, title, f"memory of {kept}"), adapted(bundle, data, change, kept)


def adapted(
    bundle: Path, data: Data, change: Callable[[np.ndarray], np.ndarray], kept: int
) -> list[tuple[int, float, float]]:
    """Return images learned, and the accuracies on 2,000 ordinary and changed test images.

    The images of the stream are validation samples of the run, in batches of 20; with a memory, each batch
    gets 20 of the first training images besides.
    """
    learner = Learner(load_bundle(bundle, check=False))
    test, random = data.images.test, np.random.default_rng(0)
    x, y = np.asarray(test.x[:2000]), np.asarray(test.y[:2000])
    stream = data.val
    assert stream is not None
    found = [(0, learner.evaluate(x, y), learner.evaluate(change(x), y))]
    for first in range(0, IMAGES[-1], BATCH):
        images, labels = (
            change(np.asarray(stream.x[first : first + BATCH])),
            np.asarray(stream.y[first : first + BATCH]),
        )
        if kept:
            old = random.integers(kept, size=BATCH)
            images = np.concatenate([images, data.train.x[old]])
            labels = np.concatenate([labels, data.train.y[old]])
        learner.step(images, labels)
        if first + BATCH in MEASURED:
            found.append((first + BATCH, learner.evaluate(x, y), learner.evaluate(change(x), y)))
    return found


# -- the page ------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def titled(name: str) -> str:
    return f"`{name}`" + ", 3×500" * name.startswith("mnist")


def of_accuracy(kept: Mapping[str, Any]) -> str:
    """Return accuracies after the last epoch, and their differences from torch's for the same seeds."""
    rows = []
    for name, engines in kept.items():
        cells = [titled(name), str(EPOCHS[name])]
        ends = {engine: {s: 100 * curve[-1] for s, curve in of.items()} for engine, of in engines.items()}
        cells.append(pages.mean(list(ends["torch"].values()), 1))
        for engine in ("ONNX Runtime", "int8", "C99"):
            if engine not in ends:
                cells += ["–"] * 2
                continue
            of = ends[engine]
            cells += [
                pages.mean(list(of.values()), 1),
                f"{statistics.mean(of[seed] - ends['torch'][seed] for seed in of):+.2f}",
            ]
        rows.append(cells)
    head = [
        "recipe",
        "epochs",
        "torch",
        "ONNX Runtime",
        "difference",
        "int8",
        "difference",
        "C",
        "difference",
    ]
    return table(head, rows)


def of_time(kept: Mapping[str, Any]) -> str:
    """Return the ratios of medians of steps; of batches, and of single samples."""
    batches, single = [], []
    for name, kinds in kept.items():
        for kind, found in kinds.items():
            ms = {key: statistics.median(of) for key, of in found.items() if isinstance(of, list)}
            if "net.learn" not in ms:
                continue
            bare = ms["net.learn"]
            if kind == "one sample":
                shape = "×".join(map(str, CASES[name][0]))
                ratios = [f"{ms[key] / bare:.2f}" for key in ("ONNX Runtime", "C99")]
                single.append([f"Forward-Forward of {shape}, 3×500", f"{bare:.2f} ms", *ratios])
                continue
            run = ms["ffcore run"]
            against = [
                f"{ms[key] / bare:.2f}" for key in ("ONNX Runtime", "graph per block", "fixed rows", "int8")
            ]
            label = titled(name)
            ratios = [f"{run / bare:.2f}", f"{ms['ONNX Runtime'] / run:.2f}", *against]
            batches.append([label, kind.split()[-1], f"{bare:.2f} ms", *ratios])
    head = ["recipe", "batch", "`net.learn`", "`ffcore run` / `net.learn`", "ONNX Runtime / `ffcore run`"]
    head += [f"{each} / `net.learn`" for each in MADE]
    alone = ["a batch of one sample", "`net.learn`", "ONNX Runtime / `net.learn`", "C / `net.learn`"]
    return f"{table(head, batches)}\n\n{table(alone, single)}"


def of_start(kept: Mapping[str, Any]) -> str:
    rows = [
        [
            titled(name),
            title,
            *(f"{second:.2f} s" for second in seconds),
        ]
        for name, titles in kept.items()
        for title, seconds in titles.items()
    ]
    return table(["recipe", "golden step", "import", "load", "first step", "together"], rows)


def of_memory(kept: Mapping[str, Any]) -> str:
    """Return what is held beyond the imports, beside what the cost sheet counts."""
    smallest = next(iter(kept))
    fixed = {kind: held_by(of) - counted_bytes(of) for kind, of in kept[smallest].items()}
    rows = []
    for name, kinds in kept.items():
        for kind, of in kinds.items():
            counts, held = counted_bytes(of), held_by(of)
            ratio = f"{held / counts:.2f}" if name != smallest else "–"
            rest = f"{(held - fixed[kind]) / counts:.2f}" if name != smallest else "–"
            cells = [counts, of["total"], of.get("alive"), held]
            texts = ("–" if each is None else f"{each / 1e6:.1f} MB" for each in cells)
            rows.append([name, kind, *texts, ratio, rest])
    head = ["network", "bundle", "weights, state, activities", "with gradients", "alive", "held", "ratio"]
    return table([*head, "without the fixed part"], rows)


def held_by(of: Mapping[str, int]) -> int:
    return of["peak of learning"] - of["imported"]


def counted_bytes(of: Mapping[str, int]) -> int:
    return sum(of[key] for key in ("weight", "optimizer", "sums", "activities"))


def of_sizes(kept: Mapping[str, Any]) -> str:
    """Return the sizes of bundles, environments and wheels."""
    bundles = []
    for name, of in kept["bundle"].items():
        sums = {title: sum(files[f] for f in ("predict.onnx", "weights.npz")) for title, files in of.items()}
        cells = [f"{sums['float32']:,}", f"{sums['int8']:,}", f"{sums['float32'] / sums['int8']:.1f}"]
        bundles.append([titled(name), *cells])
    others = [
        [f"installed, {title}", f"{of['bytes'] / 1e6:,.0f} MB, {of['packages']} packages"]
        for title, of in kept["environment"].items()
    ]
    others += [[f"wheel of `{title}`", f"{size / 1e3:,.0f} kB"] for title, size in kept["wheel"].items()]
    first = table(["`predict.onnx` and `weights.npz`, bytes", "float32", "int8", "ratio"], bundles)
    return f"{first}\n\n{table(['', 'size'], others)}"


def of_adaptation(kept: Mapping[str, Any]) -> str:
    """Return accuracies on changed and on ordinary images, in percent."""
    rows = []
    for name, changes in kept.items():
        for change, memories in changes.items():
            for kind, of in memories.items():
                at = {images: f"{100 * new:.1f} / {100 * old:.1f}" for images, old, new in of}
                rows.append([name, change, kind.split()[-1], *(at[n] for n in (0, *IMAGES))])
    head = ["network", "images", "memory", "before", *(f"{n:,} images" for n in IMAGES)]
    return table(head, rows)


def learning_curves(kept: Mapping[str, Any]) -> None:
    """Draw the test accuracy of digits/ff by epoch."""
    with style.paper_style():
        figure = style.new_figure(style.WIDE, 2.7)
        for ax, name in zip(figure.subplots(1, 2), ("digits/ff", "mnist/ff"), strict=True):
            for colour, (engine, of) in zip(style.RUNS, kept[name].items(), strict=False):
                curve = 100 * np.mean(list(of.values()), axis=0)
                epochs = range(1, len(curve) + 1)
                line = {"torch": "-", "ONNX Runtime": (0, (4, 3)), "int8": "-", "C99": "-"}[engine]
                width = 3.0 if engine == "torch" else 1.4
                label = engine if engine != "C99" else "C, one sample at a time"
                ax.plot(epochs, curve, color=colour, ls=line, lw=width, label=label, **style.mark(len(curve)))
            ax.set_title(name + ", 3×500" * name.startswith("mnist"))
            ax.set_ylabel("test accuracy (%)")
            ax.set_ylim(bottom=88)
            style.epoch_axis(ax)
        figure.axes[0].legend(loc="lower right")
        figure.savefig(PICTURES / "edge-learning.png")


def adaptation_curves(kept: Mapping[str, Any]) -> None:
    """Draw the accuracy on changed and on ordinary images against the number of images learned."""
    with style.paper_style():
        figure = style.new_figure(style.WIDE, 2.7)
        for ax, change in zip(figure.subplots(1, 2, sharey=True), CHANGES, strict=True):
            for colour, (kind, of) in zip(style.RUNS, kept[next(iter(NETS))][change].items(), strict=False):
                images, old, new = np.array(of).T
                kept_images = kind.split()[-1]
                title = "no memory" if kept_images == "0" else f"memory of {kept_images} ordinary images"
                ax.plot(images, 100 * new, color=colour, marker="o", label=f"{change}, {title}")
                ax.plot(
                    images, 100 * old, color=colour, marker="o", ls=(0, (1, 1.5)), label=f"ordinary, {title}"
                )
            ax.set_xscale("symlog", linthresh=100)
            ax.set_xticks([0, 100, 1_000, 10_000], ["0", "100", "1,000", "10,000"])
            ax.set_title(f"images {change}")
            ax.set_xlabel("images learned on the device")
            ax.set_ylim(0, 100)
        figure.axes[0].set_ylabel("test accuracy (%)")
        figure.legend(*labels(figure.axes[0]), loc="outside lower center", ncols=2)
        figure.savefig(PICTURES / "edge-adaptation.png")


def labels(ax: Any) -> tuple[list[Any], list[str]]:
    handles, names = ax.get_legend_handles_labels()
    return handles, [name.replace("inverted", "changed") for name in names]


def page(kept: Mapping[str, Any]) -> str:
    """Return the page of the docs."""
    text = PAGE.read_text(encoding="utf-8")
    start = kept["time"].get("start", {})
    parts = {
        "accuracy": of_accuracy(kept["accuracy"]),
        "time": of_time({name: of for name, of in kept["time"].items() if name != "start"}),
        "start": of_start(start),
        "memory": of_memory(kept["memory"]),
        "sizes": of_sizes(kept["sizes"]),
        "adaptation": of_adaptation(kept["adaptation"]),
        "imported": f"{next(iter(next(iter(kept['memory'].values())).values()))['imported'] / 1e6:.0f} MB",
        "operators": ", ".join(f"`{name}`" for name in sorted(PROFILES["minimal"])),
    }
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    return text


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
