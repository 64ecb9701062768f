"""Two processes of one thread each on this machine, connected by gloo, that train with ffcore's engine."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from real import images

from ffcore.build.assemble import assemble
from ffcore.engine.module import ForwardOnly
from ffcore.recipe.schema import Recipe
from ffcore.run.data import Data


def start(program: str, words: Sequence[str], **options: Any) -> list[subprocess.Popen[str]]:
    """Start both ranks of a program; ``options`` are those of `subprocess.Popen`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, program, *words],
            env={**os.environ, **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            **options,
        )
        for rank in range(2)
    ]


@contextmanager
def connected() -> Iterator[None]:
    """Within the context this process is connected to the other."""
    for logger in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    yield
    dist.barrier()
    dist.destroy_process_group()


def trained(
    recipe: Recipe, steps: int, strategy: Any, callback: L.Callback, rank: int = 0, world: int = 1
) -> ForwardOnly:
    """Train a recipe's network on random images, on the samples of one rank of a world; return its module."""
    data = Data.open(recipe, images())
    module = assemble(recipe, data.images.shape, data.images.num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1 if strategy == "auto" else dist.get_world_size(),
            strategy=strategy,
            max_steps=steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,  # as in ffcore's own trainer
            callbacks=[callback],
        )
        trainer.fit(module, data.loader(data.train, "cpu", lambda: 0, rank, world))
    return module
