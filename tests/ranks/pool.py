"""Two processes that are connected once and then work for all tests."""

import importlib.util
import os
import pickle
import socket
import subprocess
import sys
import time
import traceback
from multiprocessing.connection import Client, Listener, wait
from pathlib import Path

WORLD = 2
ANSWER = 120  # seconds


class Pool:
    """Calls a function of work.py on every rank at the same time; started when it is first needed."""

    def __init__(self):
        self._ranks = []

    def __call__(self, work, *args, each=None, **kwargs):
        """What the function of that name returns on each rank; an exception, if it raised one.

        ``each`` has further arguments for each rank. Ranks that refuse in the same words are still in step.
        """
        if not self._ranks:
            self._start()
        for rank, (_, pipe) in enumerate(self._ranks):
            pipe.send_bytes(pickle.dumps((work, args, {**kwargs, **(each[rank] if each else {})})))
        answers, end = [None] * WORLD, time.monotonic() + ANSWER
        waiting = {pipe: rank for rank, (_, pipe) in enumerate(self._ranks)}
        while waiting:
            ready = wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
            for pipe in ready:
                answers[waiting.pop(pipe)] = pickle.loads(pipe.recv_bytes())
            if not ready:
                self.close()
                raise TimeoutError(f"{work}: a rank does not answer; the other one: {answers}")
            if any(isinstance(answer, BaseException) for answer in answers):
                end = min(end, time.monotonic() + 10)  # the other one may wait for it
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed and not (len(failed) == WORLD and len(set(map(str, failed))) == 1):
            self.close()  # they may be out of step now
        return answers

    def _start(self):
        with socket.socket() as free, Listener() as here:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            for rank in range(WORLD):
                process = subprocess.Popen(
                    [sys.executable, __file__, str(rank), str(port), here.address], stderr=subprocess.DEVNULL
                )
                self._ranks.append((process, here.accept()))

    def close(self):
        for process, _ in self._ranks:
            process.kill()
            process.wait()
        self._ranks = []


def serve(rank, port, address):
    pipe = Client(address)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(WORLD),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    import torch
    import torch.distributed as dist

    spec = importlib.util.spec_from_file_location("ranks_work", Path(__file__).with_name("work.py"))
    known = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(known)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=WORLD)
    while True:
        work, args, kwargs = pickle.loads(pipe.recv_bytes())
        try:
            answer = getattr(known, work)(*args, **kwargs)
        except BaseException as error:
            error.add_note(traceback.format_exc())
            answer = error
        pipe.send_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
