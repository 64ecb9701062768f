"""A run with a fault: ``python victim.py ACCIDENT RUN_DIR``; used by faults.py.

If the fault is a kill, the process ends by SIGKILL: no clean-up, no flush. Reports, which take longer than
these runs, are not written.
"""

import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import lightning

import ffcore
from ffcore import files
from ffcore.errors import RunError
from ffcore.recipe.load import load
from ffcore.run import train

RECIPE = (
    "digits/ff",
    ["trainer.max_epochs=3", "trainer.threads=1", "trainer.checkpoint_every=5", "data.batch_size=100"],
)


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number, real):
    """Returns ``real``, except that the process dies at the start of call number ``number``."""
    count = 0

    def call(*args, **kwargs):
        nonlocal count
        count += 1
        if count == number:
            die()
        return real(*args, **kwargs)

    return call


class KillAt(lightning.Callback):
    """Dies in a hook after ``step`` steps."""

    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self.hook)

    def hook(self, trainer, *args, **kwargs):
        if trainer.global_step >= self.step:
            die()


def while_writing(name, number, when):
    """Dies in the ``number``-th writing of a file: before it, half way, before the rename, or after it."""
    real, count = files.write_whole, 0

    def write_whole(target, write):
        nonlocal count
        if target.name == name:
            count += 1
        this = target.name == name and count == number
        if this and when == "before":
            die()

        def writes(draft):
            write(draft)
            if this and when == "half":
                with draft.open("r+b") as file:
                    file.truncate(draft.stat().st_size // 2)
            if this and when in ("half", "whole"):
                die()

        real(target, writes)
        if this:
            die()

    files.write_whole = write_whole
    from ffcore.engine import history
    from ffcore.run import directory

    history.write_whole = directory.write_whole = write_whole


def between_the_names():
    """Dies after the last checkpoint was renamed to the previous one, before the new one is the last."""
    real = Path.replace

    def replace(self, target):
        made = real(self, target)
        if Path(target).name == "previous.ckpt":
            die()
        return made

    Path.replace = replace


def measuring():
    from ffcore.run import arrays

    arrays.measure = die


def reporting():
    train.write_report = die


def jumping_clock():
    """The wall clock jumps by days, back and forth; some steps wait a little."""
    real = time.time
    time.time = lambda: real() + random.Random(0).uniform(-1e6, 1e6)


def small_files(size):
    """Limit the size of files, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


KILLS = {
    "before the first batch": lambda: [KillAt("on_train_start", 0)],
    "after the first batch": lambda: [KillAt("on_train_batch_end", 1)],
    "within the first epoch": lambda: [KillAt("on_train_batch_end", 8)],
    "after an epoch's last batch": lambda: [KillAt("on_train_batch_end", 13)],
    "as a validation begins": lambda: [KillAt("on_validation_start", 13)],
    "within a validation": lambda: [KillAt("on_validation_batch_end", 13)],
    "as a validation ends": lambda: [KillAt("on_validation_end", 13)],
    "as an epoch ends": lambda: [KillAt("on_train_epoch_end", 26)],
    "as an epoch begins": lambda: [KillAt("on_train_epoch_start", 26)],
    "within the last epoch": lambda: [KillAt("on_train_batch_end", 33)],
    "as training ends": lambda: [KillAt("on_train_end", 39)],
    "as the test begins": lambda: [KillAt("on_test_start", 39)],
    "before the first checkpoint is written": lambda: while_writing("last.ckpt", 1, "before"),
    "half way through the first checkpoint": lambda: while_writing("last.ckpt", 1, "half"),
    "half way through a later checkpoint": lambda: while_writing("last.ckpt", 4, "half"),
    "when a checkpoint is written but not yet named": lambda: while_writing("last.ckpt", 4, "whole"),
    "between the two names of checkpoints": between_the_names,
    "half way through the best checkpoint": lambda: while_writing("best.ckpt", 1, "half"),
    "when the best checkpoint has its name": lambda: while_writing("best.ckpt", 2, "after"),
    "half way through the table of epochs": lambda: while_writing("metrics.csv", 2, "half"),
    "while arrays are measured": measuring,
    "half way through the results": lambda: while_writing("results.json", 1, "half"),
    "while the report is drawn": reporting,
}
OTHERS = {"none": lambda: None, "clock": jumping_clock, "full": lambda: small_files(4_000_000)}


def main():
    accident, folder = sys.argv[1], Path(sys.argv[2])
    train.write_report = lambda *args: None
    callbacks = {**KILLS, **OTHERS}[accident]() or []
    if folder.exists():
        ffcore.resume(folder, callbacks=callbacks)
    else:
        ffcore.train(load(*RECIPE), run_dir=folder, callbacks=callbacks)


if __name__ == "__main__":
    try:
        main()
    except RunError as error:
        sys.exit(f"error: {error}")
