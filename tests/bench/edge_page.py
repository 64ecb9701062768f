"""Tables and pictures of docs/edge.md."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pages
from edge_cases import CASES, CHANGES, EPOCHS, IMAGES, MADE, NETS, PAGE, PICTURES

from ffcore.exports.profiles import PROFILES
from ffcore.report import style


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
