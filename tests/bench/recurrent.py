"""A batch of predictive Forward-Forward with ffcore, compared with a bare loop of the same equations.

    python tests/bench/recurrent.py

One thread, random images of 784 pixels. The bare loop has closed-form gradients, one fused Adam for all
parameters, and the product with the image shared by both views.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from turns import Times, alternate, loop

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe

D, K, STEPS, GROUP, LATENTS = 784, 10, 12, 10, 20
ALPHA, STRENGTH, BETA, THETA, CLIP = 0.3, 5.0, 0.1, -10.0, 1.0
NOISE, GENERATOR_NOISE = 0.01, 0.025


def images(n: int) -> tuple[Tensor, Tensor]:
    return torch.rand(n, D), torch.randint(K, (n,))


def ours(units: Sequence[int], n: int, **changes: Any) -> Callable[[], None]:
    """Returns a step of ffcore's algorithm and network on one batch, without the trainer."""
    recipe = Recipe.model_validate(
        {
            "name": "bench",
            "data": {"kind": "digits"},
            "algorithm": "predictive-forward-forward",
            "network": [
                {"kind": "predictive", "units": list(units), "group": GROUP, "latent_rate": BETA, **changes}
            ],
            "block": {
                "goodness": "negative-sum-squares",
                "objective": {"kind": "logistic", "threshold": THETA},
            },
            "trainer": {"clip_value": CLIP},
        }
    )
    module = assemble(recipe, (1, 28, 28), K)
    module.configure_optimizers()
    x, y = images(n)
    step = 0

    def run() -> None:
        nonlocal step
        batch = Batch(x.view(n, 1, 28, 28), y, torch.arange(n), 0, n, BatchRNG(1, step, 0, n, n))
        module.algorithm.learn(batch, module.network)
        step += 1

    return run


def unit(v: Tensor) -> Tensor:
    return v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + 1e-8)


def bare(units: Sequence[int], n: int) -> Callable[[], None]:
    """Returns a step of the bare loop on the same batch."""
    x, y = images(n)
    sizes = [D, *units, K]
    layers = len(units)

    def new(*shape: int) -> Tensor:
        return nn.Parameter(torch.rand(*shape) * 0.05)

    w = [new(sizes[i + 1], sizes[i]) for i in range(layers)]
    v = [new(sizes[i + 1], sizes[i + 2]) for i in range(layers)]
    b = [new(sizes[i + 1]) for i in range(layers)]
    lateral = [new(u // GROUP, GROUP, GROUP) for u in units]
    g = [new(a, c) for a, c in pairwise([D, *units, LATENTS])]
    top, bias = new(K, units[-1]), new(K)
    parameters = [*w, *v, *b, *lateral, *g, top, bias]
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    sign = 1 - 2 * torch.eye(GROUP)
    right = torch.cat([torch.ones(n), torch.zeros(n)])

    @torch.no_grad()
    def step() -> None:
        hypotheses = torch.cat([y, (y + torch.randint(1, K, (n,))) % K])
        clamp = STRENGTH * F.one_hot(hypotheses, K).float()
        image, both = unit(x), x.repeat(2, 1)
        states: list[Tensor] = []
        for i in range(layers):
            below = image if i == 0 else unit(states[-1])
            states.append(torch.addmm(b[i], below, w[i].T).relu_())
        top_input = unit(states[-1])
        states = [state.repeat(2, 1) for state in states]
        latent = torch.zeros(2 * n, LATENTS)
        for _ in range(STEPS):
            off = torch.softmax(torch.addmm(bias, top_input, top.T), 1)
            off = (off - F.one_hot(y, K)) * (STRENGTH / n)
            top.grad, bias.grad = off.T @ top_input, off.sum(0)
            around = [image, *map(unit, states), clamp]
            after = []
            for i, own in enumerate(states):
                below, above = around[i], around[i + 2]
                drive = torch.addmm(b[i], below, w[i].T)
                if i == 0:
                    drive = drive.repeat(2, 1)
                drive.addmm_(above, v[i].T)
                rows = own.view(2 * n, -1, GROUP).transpose(0, 1)
                signed = torch.relu(lateral[i]) * sign
                drive -= torch.bmm(rows, signed).transpose(0, 1).reshape_as(drive)
                drive += torch.randn_like(drive) * NOISE
                state = torch.lerp(drive.relu_(), own, ALPHA)
                logits = -state.square().sum(1) - THETA
                up = (torch.sigmoid(logits) - right) / n
                down = state * (-2 * (1 - ALPHA) * up).unsqueeze(1)
                pulled = down.view(2 * n, -1, GROUP).transpose(0, 1)
                lateral[i].grad = -torch.bmm(rows.transpose(1, 2), pulled) * sign * (lateral[i] > 0)
                b[i].grad, v[i].grad = down.sum(0), down.T @ above
                w[i].grad = (down[:n] + down[n:]).T @ below if i == 0 else down.T @ below
                after.append(state)
            states = after
            for i, (target, state) in enumerate(zip([both, *states], [*states, None], strict=True)):
                if state is None:
                    above = latent.relu()
                else:
                    above = unit((state + torch.randn_like(state) * GENERATOR_NOISE).relu_())
                made = above @ g[i].T
                error = (made.clamp_(0, 1) if i == 0 else made.relu_()).sub_(target)
                if state is None:
                    latent = latent - BETA * 2 * (error @ g[i])
                g[i].grad = error.mul_(1 / n).T @ above
            for parameter in parameters:
                parameter.grad.clamp_(-CLIP, CLIP)
            adam.step()

    return step


def compare(units: Sequence[int], n: int, rounds: int) -> dict[str, Times]:
    """Measure both in turns."""
    steps = {"ffcore": loop(ours(units, n)), "bare loop": loop(bare(units, n))}
    return alternate(steps, rounds, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for units, n in (([300, 300], 50), ([500, 500], 250), ([2000, 2000], 500)):
        times = compare(units, n, options.rounds if units[0] < 2000 else max(3, options.rounds // 3))
        name = "-".join(map(str, (D, *units)))
        for who, of in times.items():
            print(f"{name}, batch {n}, {STEPS} steps: {who:9} {of} ms")
        print(f"{name}: ratio of medians {times['ffcore'].median / times['bare loop'].median:.2f}")


if __name__ == "__main__":
    main()
