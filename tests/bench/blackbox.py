"""The accuracy of networks with each black box, compared with backpropagation; writes docs/blackbox.md.

    python tests/bench/blackbox.py [--write docs/blackbox.md] [--seeds 1,2,3]

scikit-learn's digits, three dense blocks with a box after the first. Takes some minutes on one core.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

import ffcore.run.train as running
from ffcore.build.assemble import assemble
from ffcore.data.digits import Digits
from ffcore.interfaces import BlackBox
from ffcore.local import BoxStage
from ffcore.recipe.schema import Recipe
from ffcore_blackbox.crossbar import Crossbar

UNITS, EPOCHS, SHAPE, K = 500, 20, (1, 8, 8), 10
BOXES: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    "sign": {"kind": "sign", "threshold": 0.5},
    "quantise, 2 bits": {"kind": "quantise", "bits": 2},
    "winner-take-all": {"kind": "winner-take-all", "group": 10},
    "random trees": {
        "kind": "sklearn",
        "name": "RandomTreesEmbedding",
        "options": {"n_estimators": 50, "max_depth": 5},
    },
    "process": {"kind": "process", "command": ["{python}", "-m", "ffcore_blackbox.server"]},
    "crossbar": {"kind": "crossbar", "units": UNITS},
}
STRAIGHT = ("sign", "quantise, 2 bits", "winner-take-all", "process")
"""Boxes whose output has the shape of their input, so that a gradient can be passed straight through."""

FF = {
    "algorithm": {"kind": "forward-forward"},
    "block": {
        "goodness": "sum-squares",
        "objective": {"kind": "logistic", "temperature": 10},
        "handoff": "rms",
    },
    "contribution": {"kind": "skip-first"},
}
CHANNEL = {
    "algorithm": {"kind": "channel-class"},
    "block": {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "rms"},
    "contribution": {"kind": "last"},
}
LOCAL = {
    "algorithm": {"kind": "local-errors"},
    "block": {"goodness": "linear-head", "objective": "cross-entropy", "handoff": "rms"},
    "contribution": {"kind": "last"},
}
STILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}}


def recipe(box: Mapping[str, Any] | None, parts: Mapping[str, Any], seed: int, first: Any = None) -> Recipe:
    between = [] if box is None else [{"kind": "blackbox", "box": dict(box), "fit": 2}]
    dense = {"kind": "dense", "units": UNITS}
    return Recipe.model_validate(
        {
            "name": "blackbox",
            "seed": seed,
            "data": {"kind": "digits", "batch_size": 25, "validation": 0.1},
            "network": [{**dense, "block": first or {}}, *between, {**dense, "repeat": 2}],
            "optimizer": {"kind": "adam", "lr": 1e-3},
            "lr_schedule": {"kind": "hold-then-linear"},
            "trainer": {"max_epochs": EPOCHS, "threads": 1, "accelerator": "cpu"},
            **parts,
        }
    )


def learned(made: Recipe) -> running.Run:
    with tempfile.TemporaryDirectory() as folder:
        return running.train(made, Path(folder) / "run")


def accuracy(run: running.Run) -> float:
    return float(run.results["test"]["accuracy"])


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images = Digits().load()
    train, test = images.train, images.test
    x, x_test = (torch.tensor(s.x, dtype=torch.float32) * images.scale for s in (train, test))
    return x, torch.tensor(train.y), x_test, torch.tensor(test.y)


def probe(run: running.Run) -> float:
    """Returns the test accuracy of a linear classifier on the output of the box for neutral inputs."""

    network = run.module.network
    seen: list[Tensor] = []
    stage = network.boxes[0] if network.boxes else network.blocks[0]
    stage.register_forward_hook(lambda module, args, out: seen.append(out))
    x, y, x_test, y_test = data()
    for part in (x, x_test):
        network.goodness(run.module.algorithm.neutral(part))
    classifier = LogisticRegression(max_iter=300).fit(seen[0].numpy(), y.numpy())
    for each in network.boxes:
        each.box.close()
    return float(classifier.score(seen[1].numpy(), y_test.numpy()))


def gradient(box: BlackBox, x: Tensor) -> str:
    """Returns the result of autograd through a box without its stage."""
    try:
        leaf = x.clone().requires_grad_()
        made = box(leaf)
        made.sum().backward()
    except Exception as error:
        return f"error: {' '.join(str(error).split())[:45]}…"
    finally:
        box.close()
    return "zero" if leaf.grad is None or not leaf.grad.any() else "non-zero"


def straight_through(stage: BoxStage, seed: int) -> float:
    """Returns the accuracy of backpropagation that treats the box as the identity in the backward pass."""
    torch.manual_seed(seed)
    x, y, x_test, y_test = data()
    first = nn.Sequential(nn.Linear(64, UNITS), nn.ReLU())
    rest = nn.Sequential(
        *(nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, K))
    )
    adam = torch.optim.Adam([*first.parameters(), *rest.parameters()], lr=1e-3)

    def logits(x: Tensor) -> Tensor:
        h = first(x.flatten(1))
        h = h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)
        return rest(h + (stage(h) - h).detach())  # type: ignore[no-any-return]

    with torch.no_grad():
        stage.fit_if_due(0, False, lambda: [first(x.flatten(1))])
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(25):
            adam.zero_grad()
            F.cross_entropy(logits(x[rows]), y[rows]).backward()
            adam.step()
    with torch.no_grad():
        found = float((logits(x_test).argmax(1) == y_test).float().mean())
    stage.box.close()
    return found


def stage_of(box: Mapping[str, Any]) -> BoxStage:
    (stage,) = assemble(recipe(box, FF, 1), SHAPE, K).network.boxes
    return stage


def row(name: str, seeds: list[int]) -> list[str]:
    """Returns the row of one box."""
    box = BOXES[name]
    cells = [name]
    runs = [learned(recipe(box, FF, seed)) for seed in seeds]
    cells.append(mean(accuracy(run) for run in runs))
    cells.append(mean(accuracy(learned(recipe(box, CHANNEL, seed))) for seed in seeds))
    cells.append(mean(accuracy(learned(recipe(box, LOCAL, seed))) for seed in seeds))
    cells.append(mean(probe(run) for run in runs))
    cells.append(mean(accuracy(learned(recipe(box, FF, seed, STILL))) for seed in seeds))
    backprop = {"algorithm": {"kind": "backprop"}}
    cells.append(mean(accuracy(learned(recipe(box, backprop, seed))) for seed in seeds))
    if box is None:
        return [*cells, "–", "–"]
    cells.append(gradient(stage_of(box).box, torch.rand(4, UNITS)))
    straight = name in STRAIGHT
    cells.append(
        mean(straight_through(stage_of(box), seed) for seed in seeds) if straight else "not possible"
    )
    return cells


def mean(values: Any) -> str:
    found = [100 * value for value in values]
    spread = f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.1f}{spread}"


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def boxes(seeds: list[int]) -> str:
    head = [
        *("box", "Forward-Forward", "channel-class", "local classifiers", "linear probe of the box"),
        *("FF, only blocks after it", "backprop", "gradient of the box", "backprop, straight through"),
    ]
    return table(head, [row(name, seeds) for name in BOXES])


def devices(seeds: list[int]) -> str:
    """Crossbars with many faults: trained on one, tested on the same and on another."""
    faults = {"kind": "crossbar", "units": UNITS, "noise": 0.5, "hours": 1000.0, "dead": 0.2, "bits": 4}
    ideal = {"kind": "crossbar", "units": UNITS, "noise": 0.0, "dead": 0.0, "saturation": None, "bits": None}

    def on(run: running.Run, box: Mapping[str, Any]) -> float:
        network = run.module.network
        network.boxes[0].box = Crossbar(
            (UNITS,), **{key: value for key, value in box.items() if key != "kind"}
        )
        _, _, x, y = data()
        return float((run.module.scores(x).argmax(1) == y).float().mean())

    rows = []
    for name, box in (("device A", {**faults, "device": 0}), ("an ideal crossbar", ideal)):
        runs = [learned(recipe(box, FF, seed)) for seed in seeds]
        tested = [{**faults, "device": 0}, {**faults, "device": 1}, ideal]
        rows.append([name, *(mean(on(run, each) for run in runs) for each in tested)])
    return table(["trained with", "on device A", "on device B", "on an ideal one"], rows)


def main() -> None:
    """Measure, print and, with --write, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("--seeds", default="1,2,3")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    running.write_report = lambda *args: Path()  # type: ignore[assignment]
    text = (Path(__file__).parent / "blackbox.md.in").read_text(encoding="utf-8")
    parts: Mapping[str, Callable[[list[int]], str]] = {"boxes": boxes, "devices": devices}
    for name, make in parts.items():
        text = text.replace(f"{{{name}}}", make(seeds))
    text = text.replace("{seeds}", ", ".join(map(str, seeds)))
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
