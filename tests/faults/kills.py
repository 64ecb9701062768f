"""Kills runs at random moments, resumes them, and compares the results with an undisturbed run.

    python tests/faults/kills.py N SEED

Trains a tiny reference run, then N runs. Each is killed with SIGKILL (sometimes twice) after a random time or
at a random call of the system, and resumed. Prints how many have equal results and weights, how many differ,
and how many cannot be resumed, with the seed of each that fails. The exit code is 1 if there is one.

A server imports torch once and forks a process for every run.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

# Before NumPy is loaded: threads do not survive a fork.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch

from ffcore import files
from ffcore.errors import UserError
from ffcore.recipe.load import load
from ffcore.run import train as training
from ffcore.run.results import Results
from ffcore.run.resume import resume
from ffcore.run.train import train

OPTIONS = [
    *("trainer.max_epochs=3", "trainer.threads=1", "trainer.checkpoint_every=4", "trainer.select=best"),
    *("trainer.accumulate=2", "data.batch_size=200", "network.0.units=20", "trainer.loggers=[csv]"),
]
SECONDS = 60  # after which a run hangs
CALLS = ("replace", "rename", "mkdir", "open", "chmod", "unlink", "rmdir")
"""Functions of `os` by which a run changes its directory; a run dies before or after one of them."""


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number, after):
    """Die at the call of this number, of all calls of `CALLS`."""
    count = 0

    def killing(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == number and not after:
                die()
            made = real(*args, **kwargs)
            if count == number:
                die()
            return made

        return call

    for name in CALLS:
        setattr(os, name, killing(getattr(os, name)))


def at_byte(number, share):
    """Die in the middle of writing the file of this number: only a share of it is written."""
    real, count = files.write_whole, 0

    def write_whole(target, write):
        nonlocal count
        count += 1
        this = count == number

        def writes(draft):
            write(draft)
            if this:
                os.truncate(draft, int(share * draft.stat().st_size))
                die()

        real(target, writes)

    from ffcore.engine import history
    from ffcore.run import checkpoints, directory

    for module in (files, history, directory):
        module.write_whole = write_whole
    checkpoints.files.write_whole = write_whole


def work(folder):
    """Train, or resume if there is a recipe. A directory without one holds nothing that was learned."""
    training.write_report = lambda *args: None  # pictures take longer than the rest
    if (folder / files.CONFIG).is_file():
        resume(folder)
    else:
        train(load("digits/ff", OPTIONS), folder)


def child(folder, accident=None, after=None):
    """Run `work` in a new process; return its exit code, -SIGKILL if it was killed, None if it hangs."""
    process = os.fork()
    if not process:
        code = 1
        try:
            sys.stderr = (folder.parent / f"{folder.name}.log").open("a")
            if accident is not None:
                accident[0](*accident[1:])
            work(folder)
            code = 0
        except UserError as error:
            print(f"refused: {error}", file=sys.stderr)
            code = 2
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    began = time.monotonic()
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        spent = time.monotonic() - began
        if spent > SECONDS or (after is not None and spent > after):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None if spent > SECONDS else -signal.SIGKILL
        time.sleep(0.001)


def content(folder):
    """Return everything that must be the same after any kill."""
    made = {}
    for name in ("last", "best"):
        state = torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
        made |= {f"{name} {key}": value.numpy() for key, value in state["state_dict"].items()}
    rows = [line.split(",") for line in (folder / files.METRICS).read_text().splitlines()]
    timed = [rows[0].index(name) for name in ("seconds", "samples_per_s")]
    made[files.METRICS] = [[cell for i, cell in enumerate(row) if i not in timed] for row in rows]
    results = Results.read(folder)
    made |= {key: results[key] for key in ("val", "test", "epochs", "steps", "epoch_selected")}
    with np.load(folder / files.ARRAYS) as arrays:
        made |= {f"arrays {key}": arrays[key] for key in arrays}
    return made


def different(folder, expected):
    """Return the first entry that is not that of the reference run; None if there is none."""
    own = content(folder)
    if own.keys() != expected.keys():
        return f"other entries: {sorted(own.keys() ^ expected.keys())[:3]}"
    for key, value in expected.items():
        if not (np.array_equal(own[key], value) if isinstance(value, np.ndarray) else own[key] == value):
            return key
    drafts = list(folder.rglob(".*.tmp"))
    return f"a draft is left: {drafts[0].name}" if drafts else None


def kill(rng, folder, duration, calls, writes):
    """Kill a run at a random moment; return a description of it."""
    kind = rng.choice(["time", "call", "write"])
    if kind == "time":
        after = rng.uniform(0, 1.1 * duration)
        code = child(folder, after=after)
        return f"after {after:.3f} s", code
    if kind == "call":
        number, late = rng.randint(1, calls), rng.random() < 0.5
        return f"{'after' if late else 'before'} call {number}", child(folder, (at_call, number, late))
    number, share = rng.randint(1, writes), rng.random()
    return f"in write {number}, {share:.0%}", child(folder, (at_byte, number, share))


def counted(folder):
    """Return how often an undisturbed run calls functions of `CALLS` and writes files."""
    counts = Counter()

    def count(owner, name, key):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            counts[key] += 1
            (folder.parent / "counts").write_bytes(f"{counts['call']} {counts['write']}".encode())
            return real(*args, **kwargs)

        setattr(owner, name, call)

    def counting():
        for name in CALLS:
            count(os, name, "call")
        count(files, "_write_whole", "write")

    assert child(folder, (counting,)) == 0
    return tuple(map(int, (folder.parent / "counts").read_text().split()))


def main(number, seed):
    """Kill and resume ``number`` runs; return how many have failed."""
    base = Path(tempfile.mkdtemp(prefix="kills-"))
    (base / "reference").mkdir()
    began = time.monotonic()
    if (code := child(base / "reference" / "run")) != 0:
        print((base / "reference" / "run.log").read_text())
        raise SystemExit(f"the reference run ended with {code}")
    duration = time.monotonic() - began
    expected = content(base / "reference" / "run")
    (base / "counted").mkdir()
    calls, writes = counted(base / "counted" / "run")
    outcomes, kills = Counter(), 0
    while kills < number:
        rng = random.Random(seed)
        home = base / str(seed)
        home.mkdir()
        folder = home / "run"
        moments = []
        for _ in range(1 if rng.random() < 0.7 else 2):
            moment, code = kill(rng, folder, duration, calls, writes)
            moments.append(moment)
            kills += code == -signal.SIGKILL
            if code != -signal.SIGKILL:  # the run ended before its moment
                break
        outcome, reason = "equal", None
        if code not in (0, -signal.SIGKILL):
            outcome, reason = "unusable", f"exit code {code} of a run that should be killed"
        elif not (folder / files.RESULTS).exists() and (code := child(folder)) != 0:
            log = (home / "run.log").read_text().strip().splitlines()
            outcome, reason = "unusable", f"exit code {code}: {log[-1] if log else ''}"
        elif (reason := different(folder, expected)) is not None:
            outcome = "different"
        outcomes[outcome] += 1
        if reason is not None:
            print(f"seed {seed}: killed {', '.join(moments)}: {outcome}: {reason}", flush=True)
        shutil.rmtree(home)
        seed += 1
        if not outcomes.total() % 50:
            print(f"{kills} kills, {outcomes['equal']} of {outcomes.total()} runs equal", flush=True)
    shutil.rmtree(base)
    shown = ", ".join(f"{outcomes[name]} {name}" for name in ("equal", "different", "unusable"))
    print(f"{kills} kills of {outcomes.total()} runs in {time.monotonic() - began:.0f} s: {shown}")
    return outcomes["different"] + outcomes["unusable"]


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
