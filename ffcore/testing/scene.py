"""A component inside the network, algorithm and views of a recipe, and the checks of it there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ffcore.build.assemble import assembled_for
from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.build.transform import as_in
from ffcore.data.images import ImageSet, mapped
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Progress
from ffcore.plugin.registry import Entry
from ffcore.recipe.load import load
from ffcore.recipe.schema import Recipe

BATCHES, N = 3, 20


@dataclass(frozen=True)
class Scene:
    """A component in a recipe, the argument of every check of this module.

    Attributes:
        entry: the registered component.
        name: the recipe: its name, or the path of its file.
    """

    entry: Entry
    name: str

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return load(self.name)

    def build(self, seed: int | None = None) -> ForwardOnly:
        """Return the module of the recipe with optimisers; black boxes are fitted."""
        recipe = self.recipe
        if seed is not None:
            recipe = recipe.model_copy(update={"seed": seed})
        module = assembled_for(recipe, Form.of(_images(self.name)))
        module.configure_optimizers()
        module.net.fit_boxes(list(self.batches()))
        return module

    def batches(self) -> Iterator[tuple[Any, Tensor | None]]:
        """Yield the first batches of the training samples."""
        images = _images(self.name)
        for i in range(BATCHES):
            split = images.train.take(torch.arange(N * i, N * (i + 1)).remainder(len(images.train)).numpy())
            yield mapped(split.x, lambda x: _tensor(x, images.scale)), torch.from_numpy(split.y)

    def learned(self, seed: int | None = None) -> ForwardOnly:
        """Return the module after the batches, at the begin, in the middle and at the end of the run."""
        module = self.build(seed)
        epochs = module.epochs or 1
        module.train()
        with torch.random.fork_rng(devices=[]):
            for epoch in sorted({0, epochs // 2, epochs - 1}):
                for step, (x, y) in enumerate(self.batches()):
                    torch.manual_seed(step)  # bodies take dropout and noise from torch's generator
                    module.net.learn(x, y, progress=Progress(epoch, epoch * BATCHES + step, epochs))
                module.net.end_epoch()
        return module

    def scores(self, module: ForwardOnly, rows: slice = slice(None)) -> Tensor:
        """Return the scores of the first batch, or of some of its rows, in evaluation mode."""
        x, _ = next(self.batches())
        return module.eval().net.evidence(mapped(x, lambda each: each[rows]))


@lru_cache(maxsize=4)
def _images(name: str) -> ImageSet:
    recipe = load(name)
    made: ImageSet = as_in(recipe, make(recipe.data.dataset, "data").load())
    return made


def _tensor(x: Any, scale: float) -> Any:
    made = torch.from_numpy(x)
    return made.float() * scale if made.dtype in (torch.uint8, torch.float32) else made


def check_scene_has_the_component(scene: Scene) -> None:
    """The component is part of the recipe's network."""
    kind = scene.entry.load()
    module = scene.build()
    parts = [*module.modules(), *(m for b in module.network.learners.values() for m in b.modules())]
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        used = any(type(part) is kind for part in parts)
    else:  # a data set or an optimiser is no part of the module
        used = f"'kind': {scene.entry.name!r}" in str(scene.recipe.model_dump())
    assert used, f"the network of the recipe {scene.name} does not have it"


def check_scene_lets_every_block_learn(scene: Scene) -> None:
    """After batches at the begin, in the middle and at the end of the run, every block has learned."""
    before, after = scene.build(), scene.learned()
    for name, block in after.network.learners.items():
        fresh = before.network.learners[name]
        pairs = list(zip(block.parameters(), fresh.parameters(), strict=True))
        assert all(now.isfinite().all() for now, _ in pairs), f"{name} has weights that are not finite"
        moved = any((now != then).any() for now, then in pairs)
        assert moved or block.frozen or not pairs, f"{name} has not learned"


def check_scene_repeats_itself_for_the_same_seed(scene: Scene) -> None:
    """Weights are bit-identical for the same seed, for any global random state."""
    once = _weights(scene.learned())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = _weights(scene.learned())
    assert torch.equal(once, again), "two runs with the same seed differ"


def check_scene_scores_samples_one_by_one(scene: Scene) -> None:
    """In evaluation mode, a sample's evidence does not depend on the rest of its batch."""
    module = scene.learned()
    whole = scene.scores(module)
    parts = torch.cat([scene.scores(module, slice(0, 7)), scene.scores(module, slice(7, None))], 1)
    assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def check_scene_state_makes_another_one_equal(scene: Scene) -> None:
    """The ``state_dict`` contains all that the scores depend on."""
    module, other = scene.learned(), scene.build(seed=scene.recipe.seed + 1)
    other.load_state_dict(module.state_dict())
    assert_close(scene.scores(other), scene.scores(module))


def check_scene_learns_a_batch_of_one(scene: Scene) -> None:
    """A batch of one sample, such as the last of an epoch, leaves finite weights."""
    module = scene.build().train()
    x, y = next(scene.batches())
    progress = Progress(0, 0, module.epochs or 1)
    module.net.learn(mapped(x, lambda each: each[:1]), None if y is None else y[:1], progress=progress)
    assert _weights(module).isfinite().all(), "a weight is not finite after a batch of one sample"


def _weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.state_dict().values() if _is_weight(p)])


def _is_weight(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
