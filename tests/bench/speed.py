"""The cost of ffcore, compared with bare loops and with backpropagation; writes docs/speed.md.

    python tests/bench/speed.py [--quick] [--write docs/speed.md]

One thread, random data in the shape of MNIST, 100 positives and 100 negatives per step. The programs
alternate; the page has medians of milliseconds with quartiles, and ratios of medians. Needs a machine that
does nothing else.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before the import of torch; child processes inherit it

import argparse
import platform
import statistics
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import bare
import channel
import lightning
import torch
from measures import (
    arithmetic,
    built,
    data,
    megabytes_kept,
    optimisations,
    own_loop,
    predicting,
    vectors,
    without_closed_forms,
)
from real import run
from turns import Turn, alternate, apart, repeat

BACKPROP = {"algorithm": {"kind": "backprop"}}
NETS = {"784-500-500": [500, 500], "784-2000×4": [2000] * 4}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def training(rounds: int, steps: int) -> str:
    """Compare a step in the trainer with bare loops."""
    parts = []
    for name, units in NETS.items():
        few = max(2, steps // (1 if len(units) == 2 else 8))
        steps_of = {
            "bare loop: closed forms, shared product, fused Adam": partial(bare.forward_forward, units),
            "bare loop: autograd per layer, both views in one batch, fused Adam": partial(
                bare.forward_forward_autograd, units
            ),
            "bare loop: two passes, Adam per layer": partial(bare.forward_forward_naive, units),
            "bare backprop, fused Adam": partial(bare.backprop, units),
            "bare backprop, Adam's default": partial(bare.backprop, units, fused=None),
        }
        mains = {
            "**ffcore run, Forward-Forward**": partial(run, units, {}),
            "**ffcore, a loop of one's own**": partial(repeat, partial(own_loop, units)),
            "ffcore run, backprop": partial(run, units, BACKPROP),
            **{who: partial(repeat, make) for who, make in steps_of.items()},
        }
        with apart(mains) as started:
            times = alternate(started, rounds, few)
        ours = next(iter(times.values()))
        rows = [[who, str(of), f"{ours.median / of.median:.2f} ×"] for who, of in times.items()]
        parts.append(table((f"{name}, ms per step", "median (quartiles)", "ffcore relative to it"), rows))
    return "\n\n".join(parts)


def what_each_buys(rounds: int, steps: int) -> str:
    columns = {
        name: optimisations(units, rounds, max(2, steps // (1 if len(units) == 2 else 8)))
        for name, units in NETS.items()
    }
    rows = []
    for what in next(iter(columns.values())):
        cells = []
        for times in columns.values():
            full = times["as it is"].median
            cells.append(f"{times[what].median:.2f} ({times[what].median / full:.2f} ×)")
        rows.append([what, *cells])
    return table(("learning from a ready batch, ms", *columns), rows)


def prediction(rounds: int) -> str:
    rows = []
    for name, units in NETS.items():
        times = predicting(units, max(3, rounds // (1 if len(units) == 2 else 4)))
        shared, plain = times["shared"].median, times["plain"].median
        rows.append(
            [name, f"{shared:.0f}", f"{plain:.0f}", f"{shared / plain:.2f}", f"{arithmetic(units):.2f}"]
        )
    head = (
        "1,000 samples, ten labels",
        "ffcore, ms",
        "ten plain passes, ms",
        "ratio",
        "expected from the arithmetic",
    )
    return table(head, rows)


def overhead(rounds: int, steps: int) -> str:
    """Networks of blocks with one unit: almost all time is overhead."""
    rows = []
    with apart({str(depth): partial(run, [1] * depth, {}) for depth in (1, 4, 17)}) as started:
        inside: dict[str, list[tuple[float, ...]]] = {name: [] for name in started}

        def turn(name: str) -> Turn:
            def take(taken: int) -> None:
                before = started[name].reported
                started[name](taken)
                after = started[name].reported
                if taken == steps:  # warm-up steps are not measured
                    spent = zip(before, after, strict=True)
                    inside[name].append(tuple((b - a) / steps * 1e3 for a, b in spent))

            return take

        times = alternate({name: turn(name) for name in started}, rounds, steps)
    for name, of in times.items():
        learn, gather = (statistics.median(spent) for spent in zip(*inside[name], strict=True))
        rest = of.median - learn - gather
        rows.append([name, *(f"{ms:.2f}" for ms in (of.median, gather, rest, learn / int(name)))])
    head = ("blocks", "ms per step", "making the batch", "trainer and engine", "the algorithm, per block")
    return table(head, rows)


def samples(rounds: int) -> str:
    return table(("one thread", "µs per sample"), [[what, f"{us:.2f}"] for what, us in data(rounds).items()])


def memory() -> str:
    rows = []
    for depth in (4, 16, 64):
        units = [500] * depth
        modules = (built(units), without_closed_forms(built(units)), built(units, **BACKPROP))
        rows.append([str(depth), *(f"{megabytes_kept(module, vectors()):.1f}" for module in modules)])
    return table(
        ("blocks of 500", "ffcore, closed forms", "ffcore, autograd per block", "ffcore, backprop"), rows
    )


def resnet(rounds: int) -> str:
    parts = []
    crop = channel.crops(rounds).median
    for widths in ([100, 200, 400, 800], [40, 80, 160, 320]):
        times = channel.steps(widths, max(3, rounds // 3))
        same, batch_norm = (of.median for of in list(times.values())[2:])
        memory = channel.kept(widths)
        rows = [
            [
                who,
                str(of),
                f"{of.median / same:.2f} ×",
                f"{of.median / batch_norm:.2f} ×",
                f"{memory[who]:.1f}",
            ]
            for who, of in times.items()
        ]
        head = (
            f"ResNet-17 at {tuple(widths)}, ms per step of 32 (two threads)",
            "median (quartiles)",
            "relative to backprop, same norms",
            "relative to backprop, batch norm",
            "MB kept for backward",
        )
        local = next(iter(times.values())).median
        parts.append(table(head, rows))
        parts.append(
            f"A batch of 32 from the loader, cropped and mirrored, takes {crop:.2f} ms: the local step takes "
            f"{local / crop:.0f} times as long."
        )
    return "\n\n".join(parts)


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    cpu = names[0] if names else platform.machine()
    versions = f"torch {torch.__version__}, lightning {lightning.__version__}"
    return f"{cpu}, one thread; Python {platform.python_version()}, {versions}"


def page(rounds: int, steps: int) -> str:
    template = (Path(__file__).parent / "speed.md.in").read_text(encoding="utf-8")
    parts: Mapping[str, str] = {
        "machine": machine(),
        "training": training(rounds, steps),
        "optimisations": what_each_buys(rounds, steps),
        "prediction": prediction(rounds),
        "overhead": overhead(rounds, steps),
        "data": samples(rounds),
        "memory": memory(),
        "resnet": resnet(rounds),
    }
    for name, text in parts.items():
        template = template.replace(f"{{{name}}}", text)
    return template


def main() -> None:
    """Measure, print and, with --write, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: results are less precise")
    parser.add_argument("--write", type=Path, help="file for the page")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    text = page(*(3, 5) if options.quick else (25, 20))
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
