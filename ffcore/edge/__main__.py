"""The command ``python -m ffcore.edge``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ffcore.edge import Bundle, EdgeError, EpochResult, Learner, load
from ffcore.edge.files import arrays, refuse_path, write_whole


class _Stop(Exception):  # noqa: N818 - not an error
    """A signal has asked to stop; raised between two batches, so that the state is complete."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: its arguments; None: those of the process.

    Returns:
        0; 2 for a mistake of the user, 1 when learning or saving had to stop, 130 after Ctrl-C.
    """
    args = _parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return code


def _info(args: argparse.Namespace) -> int:
    bundle = load(args.bundle, check=False)
    about = bundle.about
    shape = " x ".join(map(str, about.shape)) or "1"
    print(f"{about.name}, made by {about.made_by}")
    stored = about.stored or {}
    how = "".join(f", {key} {_short(stored[key])}" for key in ("scale", "mean", "std") if key in stored)
    print(f"samples    {shape} {about.dtype}, {'stored values' + how if stored else 'inputs of the network'}")
    print(f"targets    {about.target}, {about.columns}")
    rows = f"always {about.rows}" if about.rows else about.batch_size
    if about.phases:
        rates = f", rate factors {about.rate(0):g} to {about.rate(about.epochs):.2g}" if about.rates else ""
        print(f"learning   {about.epochs} epochs, batches of {rows}, seed {about.seed}{rates}")
    sizes: dict[str, int] = {}
    for name, array in bundle.weights():
        part = about.state[name].part
        sizes[part] = sizes.get(part, 0) + array.nbytes
    for part, size in sizes.items():
        print(f"{part:<10} {size:,} bytes")
    for file, (_, size) in about.files.items():
        operators = about.operators.get(file, {})
        used = "" if not operators else f", {sum(operators.values())} nodes of {len(operators)} operators"
        print(f"{file:<20} {size:,} bytes{used}")
    for line in _cost(about.cost or {}):
        print(f"cost       {line}")
    return 0


def _short(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return " ".join(f"{each:g}" for each in values)


def _cost(cost: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines of a cost sheet; what it lacks is left out."""
    for what in ("predict", "learn"):
        if cost.get(what) is not None:
            yield f"{cost[what]:,} multiplications a sample to {what}"
    for each in cost.get("memory") or ():
        if each["numbers"] == "float32" and each["batch_size"] == cost["batch_size"]:
            parts = (each[key] for key in ("parameters", "optimizer", "gradient", "activities"))
            yield f"{sum(parts):,} bytes of RAM to learn {each['method']}, batches of {each['batch_size']}"


def _learn(args: argparse.Namespace) -> int:
    _refuse_existing(args)
    if args.save_every is not None and (args.save_every < 1 or not args.out):
        raise EdgeError("--save-every: needs --out and a number of batches from 1")
    x, y = _data(args.data, "x", "y")
    test = _data(args.test, "x", "y") if args.test else None
    learner = _learner(args, args.seed)
    if args.resume:
        learner.resume(args.resume)
        if args.seed not in (None, learner.progress.seed):
            raise EdgeError(f"--seed {args.seed}: {args.resume} has the seed {learner.progress.seed}")
    about = learner.bundle.about
    done = learner.progress.epoch
    goal = args.epochs if args.epochs is not None else about.epochs
    epochs = goal - done
    if done and epochs < 1:
        raise EdgeError(f"{args.resume}: has learned {done} epochs already; use a larger --epochs")
    signals: list[int] = []

    def on_batch() -> None:
        if signals:
            raise _Stop
        if args.out and args.save_every and learner.progress.steps % args.save_every == 0:
            learner.save(args.out)

    def on_epoch(result: EpochResult) -> None:
        if not args.out and result.epoch == done:
            print("note: what is learned is not saved; give --out STATE.npz", file=sys.stderr)
        parts = [f"epoch {result.epoch + 1}", *(f"{k} {v:.4f}" for k, v in result.losses.items())]
        parts.append(f"{result.seconds:.2f} s")
        if test is not None:
            measure = "test error" if about.target == "values" else "test accuracy"
            parts.append(f"{measure} {learner.evaluate(*test):.4f}")
        if result.dropped:
            parts.append(f"{result.dropped} samples dropped")
        print("  ".join(parts), flush=True)

    old = [(each, signal.signal(each, _noting(signals))) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        learner.learn(x, y, epochs=epochs, batch_size=args.batch_size, on_epoch=on_epoch, on_batch=on_batch)
    except _Stop:
        saved = "nothing is saved (no --out)"
        if args.out:
            learner.save(args.out)
            saved = f"{args.out} is saved; resume with --resume {args.out} --out {args.out} --epochs {goal}"
        print(f"stopped after {learner.progress.steps} batches; {saved}", file=sys.stderr)
        return 128 + signals[0]
    finally:
        for each, handler in old:
            signal.signal(each, handler)
    if args.out:
        learner.save(args.out)
    return 0


def _noting(signals: list[int]) -> Any:
    def note(number: int, frame: object) -> None:
        signals.append(number)
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once

    return note


def _evaluate(args: argparse.Namespace) -> int:
    x, y = _data(args.data, "x", "y")
    learner = _learner(args)
    measure = "mean squared error" if learner.bundle.about.target == "values" else "accuracy"
    print(f"{measure} {learner.evaluate(x, y):.6g}")
    return 0


def _predict(args: argparse.Namespace) -> int:
    if args.out:
        _refuse_existing(args)
        if args.out.suffix != ".csv":
            raise EdgeError(f"--out {args.out}: predictions are written as CSV; name it .csv")
    (x,) = _data(args.data, "x")
    learner = _learner(args)
    about, made = learner.bundle.about, learner.predict(x)
    if about.target == "class":
        rows = ["prediction", *(about.classes[k] for k in made)]
    else:
        rows = [",".join(about.classes), *(",".join(map(str, row)) for row in made.tolist())]
    text = "\n".join(rows) + "\n"
    if args.out:
        write_whole(args.out, lambda file: file.write(text.encode()))
    else:
        print(text, end="")
    return 0


def _learner(args: argparse.Namespace, seed: int | None = None) -> Learner:
    bundle: Bundle = load(
        args.bundle, threads=args.threads, check=not args.no_check, keep_sessions=not args.drop_sessions
    )
    learner = Learner(bundle, seed, rate=getattr(args, "rate", None))
    if getattr(args, "state", None):
        learner.resume(args.state)
    return learner


def _data(path: Path, *names: str) -> list[Any]:
    with arrays(path) as stored:
        return [stored[name] for name in names]


def _refuse_existing(args: argparse.Namespace) -> None:
    out, resumed = args.out, getattr(args, "resume", None)
    if out is None:
        return
    refuse_path(out)
    if out.exists() and not args.overwrite and not (resumed and resumed.exists() and out.samefile(resumed)):
        raise EdgeError(f"--out {out}: exists already; choose another file, or use --overwrite")


def _parser() -> argparse.ArgumentParser:
    text = "Learn and predict from bundles of ffcore."
    parser = argparse.ArgumentParser("python -m ffcore.edge", description=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info, learn, evaluate, predict = (
        commands.add_parser(run.__name__[1:], help=text, description=text)
        for run, text in (
            (_info, "Show what a bundle holds."),
            (_learn, "Learn from x and y of a file."),
            (_evaluate, "Measure the accuracy on x and y of a file."),
            (_predict, "Predict the samples x of a file."),
        )
    )
    for command, run in ((info, _info), (learn, _learn), (evaluate, _evaluate), (predict, _predict)):
        command.set_defaults(run=run)
        command.add_argument("bundle", metavar="BUNDLE", type=Path, help="directory of the bundle")
        if command is info:
            continue
        command.add_argument("data", metavar="DATA.npz", type=Path, help="file with x (N, *shape) and y")
        command.add_argument("--threads", type=int, default=1, help="threads of the engine  [default: 1]")
        command.add_argument("--no-check", action="store_true", help="load without the golden step")
        command.add_argument("--drop-sessions", action="store_true", help="hold one graph at a time")
        if command is not learn:
            command.add_argument("--state", type=Path, help="weights of a file that learn has written")
        if command is not evaluate:
            command.add_argument("--out", type=Path, help="file to write")
            command.add_argument("--overwrite", action="store_true", help="replace the file --out")
    learn.add_argument("--test", type=Path, help="file with x and y, measured after every epoch")
    learn.add_argument("--epochs", type=int, help="epochs in all, resumed ones included")
    learn.add_argument("--batch-size", type=int, help="samples of a batch  [default: the bundle's]")
    learn.add_argument("--seed", type=int, help="seed of order and random numbers  [default: the bundle's]")
    learn.add_argument(
        "--rate", type=float, help="constant factor on the learning rates  [default: the bundle's schedule]"
    )
    learn.add_argument("--resume", type=Path, metavar="STATE.npz", help="continue from a file of --out")
    learn.add_argument("--save-every", type=int, metavar="BATCHES", help="write --out every so many batches")
    return parser


if __name__ == "__main__":
    sys.exit(main())
