"""What is known only on a GPU: equality, speed, memory, trainings. See docs/gpu.md.

    python tests/bench/gpu.py OUT [--seconds 540] [--data DIR] [--device cuda] [--tiny] [--only PIECE …]

Every piece is a process with a time of its own. Its result is in OUT/results.json as soon as it ends; what
fails is there with its traceback, and the next piece follows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE = 15.0
"""Seconds that a piece has to end by itself, before it is killed."""

LEAST = 10.0
"""A piece is not begun with fewer seconds."""


@dataclass(frozen=True)
class Piece:
    """A part of the measurement.

    Args:
        seconds: its time, of 540 in all; with another total its share of that.
        call: the function that measures, its module first, and its options.
    """

    seconds: float
    call: str
    options: Mapping[str, Any]


COMPILED = ("digits/ff", "digits/predsim", "digits/channel")

PIECES: dict[str, Piece] = {
    "equal-fp32": Piece(55, "equality", {"precision": "fp32"}),
    "steps-fp32": Piece(45, "steps", {"bf16": False}),
    "equal-bf16": Piece(35, "equality", {"precision": "bf16"}),
    "equal-fp64": Piece(30, "equality", {"precision": "fp64"}),
    "equal-compiled": Piece(50, "equality", {"precision": "fp32", "compile": True, "recipes": COMPILED}),
    "steps-bf16": Piece(40, "steps", {"bf16": True}),
    "train-vgg8b-predsim": Piece(80, "training", {"name": "vgg8b-predsim", "bf16": True}),
    "train-channel-resnet17": Piece(75, "training", {"name": "channel-resnet17", "bf16": True}),
    "train-ff-2000x4": Piece(55, "training", {"name": "ff-2000x4", "bf16": False}),
    "train-ff-2000x4-backprop": Piece(25, "training", {"name": "ff-2000x4-backprop", "bf16": False}),
    "equal-compiled-bf16": Piece(25, "equality", {"precision": "bf16", "compile": True, "recipes": COMPILED}),
    "steps-compiled": Piece(25, "steps", {"bf16": False, "compile": True}),
}
"""In the order of their value: what comes later is measured if time is left."""

TRAININGS = [name.removeprefix("train-") for name in PIECES if name.startswith("train-")]


def measured(name: str, given: argparse.Namespace, until: float) -> Any:
    """Run a piece in this process, until a time of `time.monotonic`."""
    import torch
    from gpu_equal import equality
    from gpu_steps import steps
    from gpu_train import training

    from ffcore.run.device import device_of

    device = device_of(given.device)
    torch.set_num_threads(1 if device.type == "cpu" else 4)
    piece = PIECES[name]
    options = dict(piece.options)
    stopped = {"status": "stopped", "error": "its time was over; the result is what was measured before"}

    def save(result: Any) -> None:
        write(given.work / f"{name}.json", {**stopped, "result": result})

    if piece.call == "equality":
        if given.tiny:
            options["recipes"] = options.get("recipes", ("digits/ff", "digits/channel", "digits/predsim"))[:3]
        return equality(device, until, save=save, **options)
    if piece.call == "steps":
        return steps(device, until, tiny=given.tiny, save=save, **options)
    return training(
        options["name"],
        device,
        until,
        given.work,
        root=given.data,
        bf16=options["bf16"] and device.type == "cuda",
        tiny=given.tiny,
    )


def child(given: argparse.Namespace) -> int:
    """Run one piece, and write its result or its traceback."""
    began = time.monotonic()
    until = began + given.seconds
    result: dict[str, Any]
    try:
        result = {"status": "done", "result": measured(given.piece, given, until)}
    except BaseException as error:
        result = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        result["traceback"] = traceback.format_exc()
    write(given.work / f"{given.piece}.json", {**result, "seconds": time.monotonic() - began})
    return 0


def about(device: str) -> dict[str, Any]:
    """Describe the machine, in a process of its own: CUDA stays free in this one."""
    code = """
import json, sys, torch
gpu = sys.argv[1] != "cpu" and torch.cuda.is_available()
one = torch.cuda.get_device_properties(0) if gpu else None
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": one and one.name}
if gpu:
    found |= {"memory_mib": one.total_memory >> 20, "capability": list(torch.cuda.get_device_capability(0))}
    found |= {"cudnn": torch.backends.cudnn.version(), "gpus": torch.cuda.device_count()}
print(json.dumps(found))
"""
    made = subprocess.run([sys.executable, "-c", code, device], capture_output=True, text=True, check=False)
    found = json.loads(made.stdout) if made.returncode == 0 else {"error": made.stderr[-2000:]}
    return {**found, "python": platform.python_version(), "machine": platform.machine(), "commit": _commit()}


def _commit() -> str | None:
    words = ["git", "rev-parse", "HEAD"]
    made = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return made.stdout.strip() or None


def write(path: Path, content: Any) -> None:
    """Write JSON, complete or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    draft.replace(path)


def begun(name: str, given: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run a piece in a process of its own, and return its result."""
    answer: Path = given.work / f"{name}.json"
    answer.unlink(missing_ok=True)
    words = [sys.executable, __file__, str(given.out), "--piece", name, "--seconds", f"{seconds:.1f}"]
    words += ["--device", given.device, "--work", str(given.work)]
    words += [*(["--data", str(given.data)] if given.data else []), *(["--tiny"] if given.tiny else [])]
    log: Path = given.work / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        late = False
        try:
            process.wait(seconds + GRACE)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if answer.exists():
        return dict(json.loads(answer.read_text(encoding="utf-8")))
    why = "killed: its time was over" if late else f"ended with exit code {process.returncode}"
    return {"status": "failed", "error": why, "log": log.read_text(errors="replace")[-4000:]}


def main() -> int:
    """Run the pieces. Returns the number of those that failed."""
    given = _given()
    given.work.mkdir(parents=True, exist_ok=True)
    if given.piece:
        return child(given)
    began = time.monotonic()
    from gpu_keep import MIB, keep, restore

    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "results.json"
    restored = restore(given.restore, given.work) if given.restore else []
    results = {"about": about(given.device), "restored": restored, "seconds": given.seconds, "pieces": {}}
    pieces: dict[str, Any] = results["pieces"]  # type: ignore[assignment]
    write(file, results)
    chosen = [name for name in PIECES if not given.only or name in given.only]
    share = given.seconds / sum(PIECES[name].seconds for name in PIECES)
    for name in chosen:
        left = given.seconds - (time.monotonic() - began) - GRACE
        seconds = min(left, max(share, 1.0 if given.only else 0.0) * PIECES[name].seconds)
        if left < LEAST:
            pieces[name] = {"status": "left out", "error": "no time was left"}
        else:
            pieces[name] = begun(name, given, seconds)
        write(file, results)
        print(f"{time.monotonic() - began:6.0f} s  {name}: {_line(pieces[name])}", flush=True)
    runs = [given.work / name for name in TRAININGS]
    results["kept"] = _attempt(lambda: keep(runs, given.out, given.files - 1, given.total * MIB))
    write(file, results)
    print(f"{time.monotonic() - began:6.0f} s  {file}; kept: {results['kept']}")
    return sum(each["status"] == "failed" for each in pieces.values())


def _attempt(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception:
        return {"error": traceback.format_exc()}


def _line(piece: Mapping[str, Any]) -> str:
    if "result" not in piece:
        return f"{piece['status']}: {piece['error']}"[:300]
    result = piece["result"]
    return f"{piece['status']} {result.get('counts') or result.get('state') or ''}"


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="directory for results.json and the runs that are kept")
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything  [default: 540]")
    parser.add_argument("--device", default="cuda", help="cuda or cpu  [default: cuda]")
    parser.add_argument("--data", type=Path, help="directory of CIFAR-10 and MNIST")
    parser.add_argument("--tiny", action="store_true", help="small networks on random data")
    parser.add_argument("--only", nargs="*", default=[], choices=[*PIECES], metavar="PIECE")
    parser.add_argument("--work", type=Path, help="run directories and logs  [default: OUT-work]")
    parser.add_argument("--restore", type=Path, help="a former OUT, whose runs are resumed")
    parser.add_argument("--files", type=int, default=8, help="files in OUT at most  [default: 8]")
    parser.add_argument("--total", type=int, default=60, help="MiB in OUT at most  [default: 60]")
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out = given.out.resolve()
    given.work = (given.work or given.out.with_name(f"{given.out.name}-work")).resolve()
    given.data = given.data.expanduser().resolve() if given.data else None
    return given


if __name__ == "__main__":
    raise SystemExit(main())
