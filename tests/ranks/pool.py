"""Processes that are connected once and used by all tests."""

import importlib.util
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from multiprocessing.connection import Client, Listener, wait
from pathlib import Path

ANSWER = 120  # seconds


class Pool:
    """Calls a function of work.py, exchange.py or levels.py on every rank. Starts on the first call."""

    def __init__(self, world):
        self.world = world
        self._ranks = []  # a pipe to each
        self._log = Path()

    def __call__(self, work, *args, **kwargs):
        """Returns the result of the function on each rank, or the exception that it raised.

        ``each`` has further arguments for each rank. If all ranks raise the same error of ffcore, the pool is
        still usable.
        """
        if not self._ranks:
            self._start()
        try:
            return self._answers(work, *args, **kwargs)
        except (EOFError, ConnectionError) as error:
            self.close()
            raise RuntimeError(f"{work}: a rank is gone: {self._log.read_text()[-2000:]}") from error

    def _answers(self, work, *args, each=None, **kwargs):
        for rank, pipe in enumerate(self._ranks):
            pipe.send_bytes(pickle.dumps((work, args, {**kwargs, **(each[rank] if each else {})})))
        answers, end = [None] * self.world, time.monotonic() + ANSWER
        waiting = {pipe: rank for rank, pipe in enumerate(self._ranks)}
        while waiting:
            ready = wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            for pipe in ready:
                answers[waiting.pop(pipe)] = pickle.loads(pipe.recv_bytes())
            if not ready:
                self.close()
                raise TimeoutError(f"{work}: a rank does not answer; the other one: {answers}")
            if any(isinstance(answer, BaseException) for answer in answers):
                end = min(end, time.monotonic() + 10)  # the other rank may wait for it
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        errors = {(type(error).__module__, str(error)) for error in failed}
        together = len(failed) == self.world and len(errors) == 1 and errors.pop()[0] == "ffcore.errors"
        if failed and not together:
            self.close()  # their collective operations may not match any more
        return answers

    def _start(self):
        with socket.socket() as free, Listener() as here:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            self._log = Path(f"{here.address}-log")
            with self._log.open("w") as log:
                words = [sys.executable, __file__, str(self.world), str(port), here.address]
                self._process = subprocess.Popen(words, stderr=log, start_new_session=True)
                pipes = [here.accept() for _ in range(self.world)]
                numbered = {pipe.recv(): pipe for pipe in pipes}
                self._ranks = [numbered[rank] for rank in range(self.world)]

    def close(self):
        if self._ranks:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._ranks = []


def start(world, port, address):
    """Import once what all ranks need, then fork them: imports take longer than most tests."""
    import ffcore.run.train  # noqa: F401

    for rank in range(world):
        if os.fork() == 0:
            serve(rank, world, port, address)
    for _ in range(world):
        os.wait()


def serve(rank, world, port, address):
    pipe = Client(address)
    pipe.send(rank)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    import torch
    import torch.distributed as dist
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only.rank = rank  # Lightning was imported before the environment was set

    known = {}
    for name in ("work", "exchange", "levels"):
        spec = importlib.util.spec_from_file_location(f"ranks_{name}", Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # recipes may name its classes
        spec.loader.exec_module(module)
        known |= vars(module)
    torch.set_num_threads(1)
    # a file as rendezvous: another program may have taken a free port in the meantime
    dist.init_process_group("gloo", init_method=f"file://{address}-met", rank=rank, world_size=world)
    while True:
        work, args, kwargs = pickle.loads(pipe.recv_bytes())
        try:
            answer = known[work](*args, **kwargs)
        except BaseException as error:
            error.add_note(traceback.format_exc())  # pickling loses the traceback
            answer = error
        pipe.send_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    start(*map(int, sys.argv[1:3]), sys.argv[3])
