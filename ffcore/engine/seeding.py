"""The use of torch's global generators: initial weights, and dropout and noise of bodies."""

from __future__ import annotations

from threading import RLock

import torch

SEEDING = RLock()
"""Held while a network is built, which takes its initial weights from torch's global generator.

Networks built at the same time in several threads then get the weights of their seeds, and a training step in
another thread does not seed the generator meanwhile. Dropout and noise of bodies are not protected: training
steps in several threads draw them from the same generator.
"""


def seed_bodies(seed: int, device: torch.device) -> None:
    """Seed torch's global generators, from which bodies take dropout and noise.

    Not `torch.manual_seed`: for each type of device that has not been initialised it queues a call with a
    stack trace. That takes 0.7 ms per step, and the queue grows.
    """
    with SEEDING:
        torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
