"""What learning on devices costs: time of a step and a start, memory, sizes of files and environments."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import real
import torch
from edge_cases import CASES, ENGINES, HELD, KINDS, ROOT, Kept, folder
from edge_learned import library, pointer
from turns import Requests, Turn, alternate, apart, loop

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.edge import Learner
from ffcore.edge import load as load_bundle
from ffcore.exports import Training, export
from ffcore.network import Network
from ffcore.recipe.load import load
from ffcore.run.train import train


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
