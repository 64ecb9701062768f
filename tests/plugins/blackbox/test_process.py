"""A program as a black box: errors, and the end of its process."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from ffcore.errors import RunError
from ffcore.local import BoxStage
from ffcore_blackbox.process import Process

HEAD = "import struct, sys, time\ni, o = sys.stdin.buffer, sys.stdout.buffer\n"
READ = "h = i.read(8)\nd = struct.unpack('<2Q', i.read(16))\nx = i.read(4 * d[0] * d[1])\n"


def program(text):
    return [sys.executable, "-c", HEAD + text]


def stage(command, **options):
    return BoxStage(Process(command, **options), "process1", "process1, network.1")


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # a zombie has gone, and has not been reaped yet
        return stat.read().rsplit(")", 1)[1].split()[0] != "Z"


def ended(pid, within=5.0):
    until = time.monotonic() + within
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not alive(pid)


@pytest.fixture
def server():
    box = stage([sys.executable, "-m", "ffcore_blackbox.server"])
    yield box
    box.box.close()


def test_the_sample_server_answers_batch_after_batch(server):
    for rows in (3, 1, 500):
        x = torch.randn(rows, 4, 5)
        torch.testing.assert_close(server(x), (x - x.mean((1, 2), keepdim=True)).sign())


def test_a_batch_larger_than_any_pipe_goes_through(server):
    x = torch.randn(3000, 1000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(server(x), (x - x.mean(1, keepdim=True)).sign())


def test_an_empty_batch_goes_through(server):
    assert server(torch.zeros(0, 4)).shape == (0, 4)


def test_it_is_started_when_it_is_needed_and_again_after_it_was_closed(server):
    assert server.box.conversation.child is None
    x = torch.randn(2, 3)
    first = server(x)
    pid = server.box.conversation.child.process.pid
    server.box.close()
    assert ended(pid)
    torch.testing.assert_close(server(x), first)


def test_a_copy_starts_its_own_process(server):
    server(torch.randn(2, 3))
    other = copy.deepcopy(server)
    assert other.box.conversation.child is None
    assert other(torch.randn(2, 3)).shape == (2, 3)
    other.box.close()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sys.exit(3)", "ended with code 3 (without an answer|before it had read its batch)"),
        (
            READ + "sys.exit('out of ink')",
            "ended with code 1 without an answer; last line of its standard error: out of ink",
        ),
        (READ + "time.sleep(60)", "has not answered within 0.5 s"),
        (READ + "o.write(h + struct.pack('<2Q', *d) + x[:5]); o.flush()", "in the middle of a frame"),
        (READ + "print('hello', flush=True); time.sleep(60)", "wrote b'hello.*' instead of a frame"),
        (
            READ + "o.write(h + struct.pack('<2Q', *d) + x + b'done'); o.flush(); time.sleep(60)",
            "wrote more than its answer",
        ),
        (READ + "o.write(b'FFB1' + b'\\xff' * 8); o.flush(); time.sleep(60)", "of 4294967295 dimensions"),
        (
            READ
            + "o.write(h + struct.pack('<2Q', d[0] - 1, d[1]) + x[: -4 * d[1]]); o.flush(); time.sleep(60)",
            "it returned shape .1, 3. for 2 rows",
        ),
        (
            READ
            + "o.write(h + struct.pack('<2Q', *d) + struct.pack('<6f', *[float('nan')] * 6)); o.flush(); "
            "time.sleep(60)",
            "its output has non-finite values",
        ),
    ],
)
def test_an_error_of_a_process_is_one_line_and_ends_it(text, complaint):
    box = stage(program(text), timeout=0.5 if "has not" in complaint else 20)
    with pytest.raises(RunError, match=f"^process1, network.1: .*{complaint}") as caught:
        box(torch.randn(2, 3))
    assert "\n" not in str(caught.value)
    if box.box.conversation.child is not None:
        pid = box.box.conversation.child.process.pid
        box.box.close()
        assert ended(pid)


def test_a_program_that_is_not_there_is_named():
    with pytest.raises(RunError, match=r"the process cannot be started: .*no-such-program"):
        stage(["no-such-program"])(torch.randn(2, 3))


HANGS = """
import os, sys, time
open(sys.argv[1] + ".draft", "w").write(str(os.getpid()))
os.rename(sys.argv[1] + ".draft", sys.argv[1])
time.sleep(60)
"""
ASKS = """
import signal, sys, torch
signal.signal(signal.SIGINT, signal.default_int_handler)
from ffcore_blackbox.process import Process
Process(["sh", "-c", f"{sys.executable} {sys.argv[1]} {sys.argv[2]}; true"])(torch.zeros(1, 1))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_the_program_that_asked_for_it(tmp_path, how):
    for name, text in (("hangs.py", HANGS), ("asks.py", ASKS)):
        (tmp_path / name).write_text(text)
    pid_file = tmp_path / "pid"  # of a grandchild: a shell is between
    words = [sys.executable, *(str(tmp_path / name) for name in ("asks.py", "hangs.py", "pid"))]
    parent = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not pid_file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    child = int(pid_file.read_text())
    assert alive(child)
    parent.send_signal(how)
    parent.wait(20)
    assert ended(child)


def test_threads_take_turns(server):
    wrong = []

    def ask(seed):
        x = torch.randn(50, 20, generator=torch.Generator().manual_seed(seed))
        for _ in range(20):
            wrong.extend([seed] * (not torch.equal(server(x), (x - x.mean(1, keepdim=True)).sign())))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert server(torch.randn(2, 20)).shape == (2, 20)  # the thread that started it is gone
