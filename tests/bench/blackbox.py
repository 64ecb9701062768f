"""Every family of local learning around each black box, and the controls; writes docs/blackbox.md.

    python tests/bench/blackbox.py [--write docs/blackbox.md] [--seeds 1,2,3] [BOX ...]

scikit-learn's digits, three dense blocks with a box after the first. Takes half an hour on one core.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pages
import torch
from perturbation import perturbed
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

import ffcore.run.train as running
from ffcore.build.assemble import assemble
from ffcore.data.digits import Digits
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

HEAD = {"kind": "dense", "units": "classes", "activation": "identity", "init": "uniform"}
LINEAR = {"goodness": "linear-head", "objective": "cross-entropy", "handoff": "rms"}
DENSE = {"kind": "dense", "units": UNITS}
RIDGE = {"goodness": "logits", "rule": {"kind": "ridge", "strength": 1}}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "Forward-Forward": {
        "algorithm": {"kind": "forward-forward"},
        "block": {
            "goodness": "sum-squares",
            "objective": {"kind": "logistic", "temperature": 10},
            "handoff": "rms",
        },
        "contribution": {"kind": "skip-first"},
    },
    "channel classes": {
        "algorithm": {"kind": "channel-class"},
        "block": {"goodness": "channel-partition", "objective": "cross-entropy", "handoff": "rms"},
        "contribution": {"kind": "last"},
    },
    "linear heads": {"block": LINEAR},
    "heads of two layers": {
        "block": {
            **LINEAR,
            "goodness": {"kind": "items-head", "items": [{"kind": "dense", "units": 100}, HEAD]},
        }
    },
    "signal propagation": {
        "algorithm": {"kind": "signal-propagation"},
        "block": {"goodness": "signal-similarity", "loss": "signal", "handoff": "rms"},
        "first": {"kind": "signal-input", "body": {**DENSE, "init": "uniform"}},
    },
    "closed form": {
        "algorithm": {"kind": "local-errors", "output": False},
        "block": {"rule": {"kind": "forward-projection", "strength": 10}, "handoff": "rms"},
        "last": [{**DENSE, "name": "output", "units": K, "activation": "identity", "block": RIDGE}],
        "schedule": {"kind": "greedy", "epochs": 1},
        "optimizer": {"kind": "sgd", "lr": 1.0},
        "lr_schedule": {"kind": "constant"},
        "fit": "finished",
        "trainer": {"max_epochs": 4, "threads": 1, "accelerator": "cpu"},
    },
}
STILL = {"optimizer": {"kind": "sgd", "lr": 1e-30}}
CHANGE = 0.01  # of a weight, in a perturbation


def recipe(box: Mapping[str, Any] | None, parts: Mapping[str, Any], seed: int, block: Any = None) -> Recipe:
    """Return the recipe of a family around a box; ``block`` are further options of the first block."""
    own = dict(parts)
    between = [] if box is None else [{"kind": "blackbox", "box": dict(box), "fit": own.pop("fit", 2)}]
    own.pop("fit", None)
    first = {**own.pop("first", DENSE), "block": block or {}}
    return Recipe.model_validate(
        {
            "name": "blackbox",
            "seed": seed,
            "data": {"kind": "digits", "batch_size": 25, "validation": 0.1},
            "algorithm": {"kind": "local-errors"},
            "network": [first, *between, {**DENSE, "repeat": 2}, *own.pop("last", [])],
            "optimizer": {"kind": "adam", "lr": 1e-3},
            "lr_schedule": {"kind": "hold-then-linear"},
            "contribution": {"kind": "last"},
            "trainer": {"max_epochs": EPOCHS, "threads": 1, "accelerator": "cpu"},
            **own,
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


def by_hand(how: str, stage: BoxStage, seed: int) -> float:
    """Return the test accuracy of a control in plain torch, with the layers, batches and epochs of a recipe.

    "straight": the box is the identity in the backward pass. "cut": the first layer learns with a linear head
    for half of the epochs, then the layers after the box by backpropagation. "perturbed": the first layer
    learns by simultaneous perturbation (Spall 1992) of the loss behind the box, the others by
    backpropagation, with as many rows through the box as a local method has.
    """
    torch.manual_seed(seed)
    x, y, x_test, y_test = data()
    first = nn.Sequential(nn.Linear(64, UNITS), nn.ReLU())
    width = stage(normal(first(x[:2].flatten(1)))).flatten(1).shape[1]
    rest = nn.Sequential(
        *(nn.Linear(width, UNITS), nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, K))
    )
    head = nn.Linear(UNITS, K)
    own = list(first.parameters())

    def adam(*modules: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam([p for module in modules for p in module.parameters()], lr=1e-3)

    def steps(epochs: int, optimizer: torch.optim.Adam, loss: Callable[[Tensor], Tensor]) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(25):
                optimizer.zero_grad()
                loss(rows).backward()
                optimizer.step()

    def hidden(x: Tensor) -> Tensor:
        return normal(first(x.flatten(1)))

    def straight(rows: Tensor) -> Tensor:
        h = hidden(x[rows])
        return F.cross_entropy(rest(h + (stage(h) - h).detach()), y[rows])

    def behind(rows: Tensor) -> Tensor:
        return F.cross_entropy(rest(stage(hidden(x[rows]).detach())), y[rows])

    with torch.no_grad():
        stage.fit_if_due(0, False, lambda: [hidden(x)])
    if how == "straight":
        steps(EPOCHS, adam(first, rest), straight)
    elif how == "cut":
        steps(EPOCHS // 2, adam(first, head), lambda rows: F.cross_entropy(head(hidden(x[rows])), y[rows]))
        stage.fit_at = 1
        with torch.no_grad():
            stage.fit_if_due(1, True, lambda: [hidden(x)])
        steps(EPOCHS // 2, adam(rest), behind)
    else:
        steps(EPOCHS // 2, adam(first, rest), lambda rows: perturbed(own, CHANGE, lambda: behind(rows)))
    with torch.no_grad():
        found = float((rest(stage(hidden(x_test))).argmax(1) == y_test).float().mean())
    stage.box.close()
    return found


def normal(h: Tensor) -> Tensor:
    """Return rows with a mean square of 1, as the handoff rms."""
    return h / (h.square().mean(1, keepdim=True).sqrt() + 1e-8)


def stage_of(box: Mapping[str, Any]) -> BoxStage:
    (stage,) = assemble(recipe(box, FAMILIES["linear heads"], 1), SHAPE, K).network.boxes
    return stage


def families(name: str, seeds: list[int]) -> dict[str, list[float]]:
    """Return the accuracies of each family around a box."""
    made = {}
    for family, parts in FAMILIES.items():
        made[family] = [accuracy(learned(recipe(BOXES[name], parts, seed))) for seed in seeds]
        print(name, family, mean(made[family]), flush=True)
    return made


def controls(name: str, seeds: list[int]) -> dict[str, list[float] | None]:
    """Return the accuracies of each control; None where it is not possible."""
    box, linear, backprop = BOXES[name], FAMILIES["linear heads"], {"algorithm": {"kind": "backprop"}}
    made: dict[str, list[float] | None] = {
        "probe of the box": [probe(learned(recipe(box, linear, seed))) for seed in seeds],
        "first block random": [accuracy(learned(recipe(box, linear, seed, STILL))) for seed in seeds],
        "backprop after it": [accuracy(learned(recipe(box, backprop, seed))) for seed in seeds],
    }
    for title, how in (
        ("head, then cut", "cut"),
        ("straight through", "straight"),
        ("perturbed", "perturbed"),
    ):
        possible = box is not None and (how != "straight" or name in STRAIGHT)
        made[title] = [by_hand(how, stage_of(box), seed) for seed in seeds] if possible and box else None
    for title, values in made.items():
        print(name, title, "–" if values is None else mean(values), flush=True)
    return made


def mean(values: Any) -> str:
    if values is None:
        return "–"
    return pages.mean([100 * value for value in values], 1)


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def boxes(seeds: list[int], names: list[str]) -> str:
    """Return both tables, and for each box the best family beside the best control."""
    own = {name: families(name, seeds) for name in names}
    others = {name: controls(name, seeds) for name in names}
    tables = [
        table(["box", *made[names[0]]], [[name, *map(mean, made[name].values())] for name in names])
        for made in (own, others)
    ]
    best = []
    for name in names:
        pair = [
            max(((v, k) for k, v in made[name].items() if v), key=lambda each: sum(each[0]))
            for made in (own, others)
        ]
        best.append([name, *(f"{mean(values)}, {title}" for values, title in pair)])
    return "\n\n".join([*tables, table(["box", "best family", "best control"], best)])


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
        runs = [learned(recipe(box, FAMILIES["Forward-Forward"], seed)) for seed in seeds]
        tested = [{**faults, "device": 0}, {**faults, "device": 1}, ideal]
        rows.append([name, *(mean(on(run, each) for run in runs) for each in tested)])
    return table(["trained with", "on device A", "on device B", "on an ideal one"], rows)


def main() -> None:
    """Measure, print and, with --write, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", type=Path, help="file for the page")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("boxes", nargs="*", help="default: all")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    running.write_report = lambda *args: Path()  # type: ignore[assignment]
    text = (Path(__file__).parent / "blackbox.md.in").read_text(encoding="utf-8")
    text = text.replace("{boxes}", boxes(seeds, options.boxes or list(BOXES)))
    text = text.replace("{devices}", devices(seeds) if "{devices}" in text and not options.boxes else "")
    text = text.replace("{seeds}", ", ".join(map(str, seeds)))
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
