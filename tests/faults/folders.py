"""Damaged run folders: ``python folders.py N SEED`` damages a run and a sweep N times and reads them.

    nox -s faults

Every command must either work or end with one line and exit code 2 (1 if the run has been written to). The
commands run in a child process each, forked after torch is imported.

Prints the counts of: fine, refused, bug (anything else), hang. The exit code is 1 after a bug or a hang.
"""

from __future__ import annotations

import collections
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ffcore
from ffcore.cli.main import main
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.sweep import Sweep

SMALL = (
    "trainer.max_epochs=2",
    "trainer.threads=1",
    "trainer.bar=false",
    "network=[{kind: dense, units: 8}]",
)
LIMIT_S = 60
"""Seconds after which a command counts as hanging."""

LINES = 6
"""Most lines on stderr: complaints, and the error, which has a line for each problem of a recipe."""

STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 3, 10**30, 0.5, -1e308, "", "a", "[/b]", "\x1b[31m", "猫" * 200, "../..", "a\nb"),
    *([], [1], ["a", None], {}, {"a": 1}, {"": []}),
)


# -- a run, an unfinished run and a sweep ----------------------------------------------------------------


def make(folder: Path) -> None:
    """Train a run and a sweep of two, and begin another run."""
    options = ["digits/ff", *SMALL, "--no-report"]
    quiet(["run", *options, "--run-dir", str(folder / "run")])
    sweep = Sweep(folder / "sweep", "digits/ff", [])
    for seed in (1, 2):
        # in this process: those of `--seeds` would import torch again
        quiet(["run", *options, f"seed={seed}", "--run-dir", str(sweep.folder / f"seed-{seed}")])
        sweep.runs.append(SweepRun(f"seed-{seed}", (), (f"seed={seed}",), seed))
    sweep.mark()
    sweep.write()
    with suppress(KeyboardInterrupt):
        ffcore.train("digits/ff", run_dir=folder / "begun", callbacks=[Stop()], **overrides())


def overrides() -> dict[str, Any]:
    return {
        "trainer": {"max_epochs": 2, "threads": 1, "bar": False, "checkpoint_every": 2},
        "network": [{"kind": "dense", "units": 8}],
    }


class Stop(__import__("lightning").Callback):  # type: ignore[misc]
    """Interrupts the training within its second epoch."""

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == trainer.num_training_batches + 3:
            signal.raise_signal(signal.SIGINT)


def quiet(words: list[str]) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        code = main(words)
    assert code == 0, errors.getvalue()


# -- damage ----------------------------------------------------------------------------------------------


READ = {
    "report": ("config.yaml", "results.json", "metrics.csv", "arrays.npz"),
    "eval": ("config.yaml", "checkpoints/last.ckpt"),
    "resume": ("config.yaml", "checkpoints/last.ckpt", "checkpoints/previous.ckpt", "metrics.csv"),
    "sweep": ("summary.json", "seed-1/results.json", "seed-2/results.json"),
}
"""The files that a command reads."""


def damage(folder: Path, command: str, rng: random.Random) -> str:
    """Damage one file of a folder, usually one that the command reads. Returns a description."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    read = [
        folder / name
        for name in READ[{"compare": "report"}.get(command, command if command in READ else "eval")]
    ]
    path = rng.choice([each for each in read if each in files] if rng.random() < 0.9 else files)
    own = {".json": of_json, ".npz": of_npz, ".ckpt": of_checkpoint, ".csv": of_text, ".yaml": of_text}
    kinds: list[Callable[[Path, random.Random], str]] = [cut, flip, other_sort, foreign, swap]
    kinds += [own[path.suffix]] * 8 if path.suffix in own else []
    return f"{path.relative_to(folder)}: {rng.choice(kinds)(path, rng)}"


def cut(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    kept = rng.choice([0, rng.randrange(len(data) + 1), max(0, len(data) - 1)])
    path.write_bytes(data[:kept])
    return f"cut to {kept} bytes"


def flip(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    places = [rng.randrange(len(data)) for _ in range(rng.choice([1, 3, 30]))] if data else []
    for place in places:
        data[place] ^= rng.randrange(1, 256)
    path.write_bytes(data)
    return f"bytes flipped at {places[:5]}"


def other_sort(path: Path, rng: random.Random) -> str:
    path.unlink()
    sort = rng.choice(["missing", "directory", "pipe", "link to itself", "link to a device"])
    if sort == "directory":
        path.mkdir()
    elif sort == "pipe":
        os.mkfifo(path)
    elif sort != "missing":
        path.symlink_to(path if sort == "link to itself" else "/dev/zero")
    return sort


def foreign(path: Path, rng: random.Random) -> str:
    content = rng.choice(
        [
            b"\0" * 100,
            b"[" * 100_000,
            b"{}",
            b"[]",
            b"null",
            b"\xff\xfea\0",
            b"a: &a [*a]\n",
            b"x" * 300_000,
            b"\n",
        ]
    )
    path.write_bytes(content)
    return f"replaced by {content[:10]!r}…"


def swap(path: Path, rng: random.Random) -> str:
    other = rng.choice(sorted(each for each in path.parent.rglob("*") if each.is_file()))
    shutil.copyfile(other, path.with_name("swapped"))
    path.with_name("swapped").replace(path)
    return f"a copy of {other.name}"


def of_text(path: Path, rng: random.Random) -> str:
    lines = path.read_text().splitlines()
    place = rng.randrange(len(lines))
    line = lines[place]
    word = rng.choice(
        ["a", "", "-1", "1e999", "nan", "'", '"', "[", "*x", "&a", ",", ": ", "1" * 5000, "\ud800", "\0"]
    )
    lines[place] = rng.choice(
        [word, line + word, word + line, line.replace("1", word), line.split(":")[0] + f": {word}"]
    )
    path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    return f"line {place + 1}: {lines[place][:60]!a}"


def of_json(path: Path, rng: random.Random) -> str:
    content = json.loads(path.read_text())
    what = change(content, rng)
    path.write_text(json.dumps(content))
    return what


def change(content: Any, rng: random.Random) -> str:
    """Replace, drop, add or rename a value somewhere in nested lists and mappings."""
    keys: list[Any] = []
    while True:
        places = list(content) if isinstance(content, dict) else range(len(content))
        if not places:
            return f"{keys}: empty"
        key = rng.choice(list(places))
        keys.append(key)
        if isinstance(content[key], dict | list) and content[key] and rng.random() < 0.7:
            content = content[key]
            continue
        action = rng.choice(["replace", "replace", "replace", "drop", "rename", "nest"])
        if action == "drop":
            del content[key]
        elif action == "rename" and isinstance(content, dict):
            content[f"{key}x"] = content.pop(key)
        elif action == "nest":
            content[key] = [content[key]]
        else:
            content[key] = rng.choice(STRANGE)
            action = f"is {content[key]!a:.40}"
        return f"{'.'.join(map(str, keys))}: {action}"


def of_npz(path: Path, rng: random.Random) -> str:
    with np.load(path) as kept:
        arrays = dict(kept)
    name = rng.choice(sorted(arrays))
    values = arrays[name]
    strange = {
        "scalar": np.array(3.0),
        "empty": values[:0] if values.ndim else values,
        "NaN": np.full(values.shape, np.nan),
        "huge": np.full(values.shape, 1e308),
        "text": np.array(["a"]),
        "object": np.array([{}], dtype=object),
        "complex": values.astype(complex),
        "nested": values[None],
        "flat": values.ravel(),
        "short": values[: len(values) // 2] if values.ndim else values,
        "negative": -np.abs(values.astype(float)) - 5,
    }
    what = rng.choice([*strange, "missing", "renamed"])
    if what in ("missing", "renamed"):
        del arrays[name]
    arrays[f"{name}x" if what == "renamed" else name] = strange.get(what, values)
    if what == "missing":
        del arrays[name]
    np.savez(path, **arrays)
    return f"{name}: {what}"


def of_checkpoint(path: Path, rng: random.Random) -> str:
    state = torch.load(path, weights_only=True)
    part = rng.choice(
        [None, "ffcore", "ffcore", "ffcore.data", "state_dict", "partial_epoch", "callbacks", "loops"]
    )
    within = state
    for key in (part or "").split(".") if part else ():
        within = within[key]
    if rng.random() < 0.3:
        tensors = [key for key, value in within.items() if isinstance(value, torch.Tensor)]
        if tensors:
            key = rng.choice(tensors)
            odd = [
                torch.zeros(3),
                within[key].double(),
                torch.tensor(1),
                within[key][None],
                within[key].to(torch.int),
            ]
            within[key] = rng.choice(odd)
            torch.save(state, path)
            return f"{part}.{key}: another tensor"
    what = change(within, rng)
    torch.save(state, path)
    if rng.random() < 0.03:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data/99", b"\0" * 10**7)
        what += ", a compressed member"
    return f"{part}: {what}"


# -- commands --------------------------------------------------------------------------------------------

COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "report": lambda folder: ["report", str(folder / "run")],
    "compare": lambda folder: [
        "report",
        str(folder / "run"),
        str(folder / "other"),
        "--out",
        str(folder / "out"),
    ],
    "eval": lambda folder: ["eval", str(folder / "run")],
    "probe": lambda folder: ["eval", str(folder / "run"), "--probe", "--samples", "200"],
    "resume": lambda folder: ["run", "--resume", str(folder / "begun"), "--no-report"],
    "sweep": lambda folder: ["report", str(folder / "sweep")],
}
MADE = {"report": "run/report.html", "compare": "out/report.html", "resume": "begun/results.json"}
"""The file without which a command with exit code 0 has not done its work."""

TARGETS = {
    "report": "run",
    "compare": "run",
    "eval": "run",
    "probe": "run",
    "resume": "begun",
    "sweep": "sweep",
}
LIBRARY: dict[str, Callable[[Path], object]] = {
    "load": lambda folder: ffcore.load(folder / "run").predict(np.zeros((2, 8, 8))),
    "evaluate": lambda folder: ffcore.evaluate(folder / "run", (np.zeros((2, 8, 8)), [0, 1])),
}


def attempt(name: str, folder: Path) -> tuple[str, str]:
    """Run a command in a child process. Returns its outcome and what it printed on stderr."""
    errors = folder / "errors"
    child = os.fork()
    if child == 0:
        code = 3
        try:
            with errors.open("w") as target, redirect_stdout(io.StringIO()), redirect_stderr(target):
                try:
                    code = main(COMMANDS[name](folder)) if name in COMMANDS else library(name, folder)
                except BaseException:
                    traceback.print_exc()
        finally:
            os._exit(code)
    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            printed = errors.read_text(errors="replace")
            made = (folder / MADE[name]).is_file() if name in MADE else True
            return outcome(os.waitstatus_to_exitcode(status), printed, made), printed
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang", ""


def library(name: str, folder: Path) -> int:
    try:
        LIBRARY[name](folder)
    except ffcore.errors.UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def outcome(code: int, printed: str, made: bool = True) -> str:
    """Returns "fine", "refused" or "bug". A section of a report may be left out because of its data.

    ``made``: whether the file of `MADE` exists.
    """
    lines = printed.strip().splitlines()
    ours = [line for line in lines if "failed: " in line and "failed: ValueError: " not in line]
    if len(lines) > LINES or ours or "bug?" in printed or "Traceback" in printed:
        return "bug"
    if code == 0:
        return "fine" if made else "bug"
    return "refused" if code in (1, 2) and any(line.startswith("error: ") for line in lines) else "bug"


def run(count: int, seed: int, complain: Callable[[str], None] = print) -> collections.Counter[str]:
    """Damage folders ``count`` times. Returns the number of cases by outcome."""
    counts: collections.Counter[str] = collections.Counter()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        make(whole)
        names = [*COMMANDS, *LIBRARY]
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            name = names[number % len(names)]
            folder = Path(scratch) / "case"
            target = TARGETS.get(name, "run")
            shutil.copytree(whole / target, folder / target)
            if name == "compare":
                shutil.copytree(whole / target, folder / "other")
            what = damage(folder / target, name, rng)
            result, printed = attempt(name, folder)
            counts[result] += 1
            if result in ("bug", "hang"):
                complain(f"{result} {seed} {number} {name}: {what}\n    {printed.strip()[-1500:]}")
            shutil.rmtree(folder)
    return counts


if __name__ == "__main__":
    found = run(*map(int, sys.argv[1:3]))
    print(", ".join(f"{found[name]} {name}" for name in ("fine", "refused", "bug", "hang")))
    sys.exit(bool(found["bug"] or found["hang"]))
