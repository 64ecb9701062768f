"""The environment of processes that a launcher has started with only the variables of torch.distributed."""

from __future__ import annotations

import os

from lightning.fabric.plugins.environments.kubeflow import KubeflowEnvironment


class Variables(KubeflowEnvironment):
    """RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as Kubernetes' PyTorchJob sets them.

    Args:
        devices: processes on each machine. Without LOCAL_RANK they are numbered in the order of RANK.
    """

    def __init__(self, devices: int) -> None:
        super().__init__()
        self.devices = devices

    def local_rank(self) -> int:
        """Return the index of this process on its machine."""
        return int(os.environ.get("LOCAL_RANK", self.global_rank() % self.devices))

    def node_rank(self) -> int:
        """Return the index of this machine."""
        return self.global_rank() // self.devices
