"""A tiny problem, and a short run of it through Lightning's trainer."""

import lightning
import numpy as np
import pytest

from ffcore.build.assemble import assemble
from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.recipe.schema import Recipe

N, K, SHAPE = 22, 3, (1, 3, 4)


@pytest.fixture
def loader():
    def make(n=N, batch_size=8, shuffle=True, **options):
        x = np.random.PCG64(1).random_raw(n * 12).reshape(n, *SHAPE) % 256
        split = Split(x.astype(np.uint8), np.arange(n) % K)
        return DeviceLoader(split, scale=1 / 255, batch_size=batch_size, shuffle=shuffle, **options)

    return make


@pytest.fixture
def module():
    def make(blocks=2, seed=1, **more):
        recipe = {
            "name": "test",
            "seed": seed,
            "data": "digits",
            "algorithm": "forward-forward",
            "network": [{"kind": "dense", "units": 6, "repeat": blocks}],
            "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
            "optimizer": {"kind": "sgd", "lr": 0.1},
            **more,
        }
        return assemble(Recipe.model_validate(recipe), SHAPE, K)

    return make


@pytest.fixture
def fit():
    def run(module, train, val=None, epochs=1, ckpt_path=None, **options):
        if val is None:  # lightning warns of a module that could validate and has nothing to
            val, options["limit_val_batches"] = train, 0
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
        trainer.fit(module, train, val, ckpt_path=ckpt_path)
        return trainer

    return run
