"""The store by which ranks find each other when torchrun starts them again.

torchrun keeps one store for all restarts, in its own process. It still has the addresses of ranks that have
ended, and the ranks of the next start would connect to these (pytorch/pytorch#135712). So rank 0 makes a
store of its own each time, and the others look for it in torchrun's: a port that does not answer is of an
earlier start.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import DistStoreError, Store, TCPStore  # type: ignore[attr-defined]

from ffcore.ranks.where import started_by_first

_KEY = "ffcore/store"
_TRY_S = 5.0  # seconds for one attempt to connect


def store_of_restart(timeout: timedelta) -> Store | None:
    """Returns the store of this start; None where torch's own does.

    Args:
        timeout: how long to look for that of rank 0.

    Raises:
        RuntimeError: rank 0 has not made one in this time; of torch.
    """
    environment = os.environ
    restarts = environment.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    shared = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if dist.is_initialized() or started_by_first() or not (restarts and shared):
        return None
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    of_torchrun = TCPStore(host, port, is_master=False, timeout=timeout)
    if environment["RANK"] == "0":
        own = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        of_torchrun.set(_KEY, str(own.port))
        return own
    end = time.monotonic() + timeout.total_seconds()
    while time.monotonic() < end:
        port = int(of_torchrun.get(_KEY))
        # torch's store would try for long, and print a trace
        with suppress(OSError), socket.create_connection((host, port), timeout=_TRY_S):
            return TCPStore(host, port, is_master=False, timeout=timeout)
        time.sleep(0.2)
    raise DistStoreError(f"Timed out after {timeout} waiting for the store of rank 0")
