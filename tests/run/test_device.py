"""A finished run is evaluated, probed and loaded on a device, and evaluated by several processes."""

import json
import runpy
import subprocess
import sys
import threading

import pytest
import torch

import ffcore
from ffcore.cli.main import main
from ffcore.errors import UserError
from ffcore.interfaces import Ranks
from ffcore.run.device import Places, device_of, in_turn
from ffcore.run.evaluate import evaluate
from ffcore.run.probe import probe


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_auto_is_the_cpu():
    assert device_of("auto") == device_of("cpu") == device_of(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_found_by_its_number():
    assert [str(device_of(name)) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UserError, match=r"^device: 'cuda:2': this machine has 2 GPUs; the last is cuda:1$"):
        device_of("cuda:2")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "devices", "message"),
    [
        ("cuda:1", 2, "device: cuda:1 is one GPU, but devices is 2; use cuda"),
        ("cuda", 3, "devices: 3: this machine has 2 GPUs"),
        ("cpu", 0, "devices: 0 should be a number of processes, 1 or more"),
    ],
)
def test_places_that_do_not_fit_are_refused(device, devices, message):
    with pytest.raises(UserError, match=message):
        Places.of(device, devices)


@pytest.mark.parametrize("wrong", ["gpu", "cuda:", "cuda:x", "mps", "", "CPU", torch.device("meta")])
def test_other_names_are_refused(wrong):
    with pytest.raises(UserError, match="should be auto, cpu, cuda, or a GPU by its number such as cuda:1"):
        device_of(wrong)


CALLS = {
    "load": lambda: ffcore.load("no-such-run", device="cuda"),
    "evaluate": lambda: ffcore.evaluate("no-such-run", device="cuda"),
    "eval": lambda: evaluate("no-such-run", device="cuda"),
    "probe": lambda: probe("no-such-run", device="cuda"),
}


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("call", CALLS)
def test_a_missing_device_is_reported_before_the_run_is_read(call):
    with pytest.raises(UserError, match=r"^device: 'cuda': this machine has no GPU that torch can use"):
        CALLS[call]()


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("words", [["eval"], ["eval", "--probe"], ["predict"]])
def test_on_the_command_line_it_is_one_line(finished, words, capsys):
    verb, *options = words
    file = ["x.npy"] if verb == "predict" else []
    assert main([verb, str(finished.path), *file, *options, "--device", "cuda"]) == 2
    assert capsys.readouterr().err.startswith("error: device: 'cuda': this machine has no GPU")
    assert main([verb, str(finished.path), *file, *options, "--device", "tpu"]) == 2
    assert "should be auto, cpu, cuda" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["--exits", "--analysis"])
def test_what_is_measured_on_the_cpu_takes_no_device(finished, other, capsys):
    assert main(["eval", str(finished.path), other, "--device", "cpu"]) == 2
    assert f"error: {other}: leave --device out" in capsys.readouterr().err


def test_a_network_is_evaluated_where_it_is(finished):
    for what in (finished.module.net, finished.predictor()):
        with pytest.raises(UserError, match="is evaluated where it is"):
            ffcore.evaluate(what, device="cpu")


def test_a_predictor_knows_its_device(finished):
    assert ffcore.load(finished.path).device == torch.device("cpu")
    assert finished.predictor(device="cpu").device == torch.device("cpu")


class Together(Ranks):
    """Threads that take the place of ranks."""

    def __init__(self, rank, world, shared):
        self.rank, self.world, (self.barrier, self.given) = rank, world, shared

    def objects(self, mine):
        self.given[self.rank] = mine
        self.barrier.wait()
        every = list(self.given)
        self.barrier.wait()
        return every


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("world", [1, 3])
def test_all_ranks_get_every_result_once_in_order(count, world):
    shared = threading.Barrier(world, timeout=20), [None] * world
    made, found = [], [None] * world

    def rank(number):
        def measure(index, item):
            made.append((item, number))
            return 10 * item + index

        found[number] = list(in_turn(range(count), measure, Together(number, world, shared)))

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[11 * item for item in range(count)]] * world
    assert sorted(made) == [(item, item % world) for item in range(count)]


PROGRAM = """
import json, sys
from pathlib import Path
import ffcore
from ffcore.run.evaluate import evaluate
from ffcore.run.probe import probe

devices, folders = int(sys.argv[1]), list(map(Path, sys.argv[2:]))
found = [evaluate(folder, device="cpu", devices=devices) for folder in folders]
found.append(probe(folders[0], samples=200, device="cpu", devices=devices))
whole = ffcore.evaluate(folders[0], device="cpu", devices=devices)
found.append([whole.samples, dict(whole.per_block), whole.confusion])
print(json.dumps(found))
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_two_processes_measure_the_numbers_of_one(quick, tmp_path, monkeypatch, capsys):
    """360 and 89 samples in batches of 64: the number of batches, and the last batch, divide by nothing."""
    options = {"data.batch_size": 64, "trainer.accelerator": "cpu"}
    runs = [quick("digits/ff", **options), quick("tables/diabetes-regression", **options)]
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [str(tmp_path / "program.py"), "1", *(str(run.path) for run in runs)]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(words[0])
    (one,) = map(json.loads, capsys.readouterr().out.splitlines())
    words[1] = "2"
    made = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    two, end = json.JSONDecoder().raw_decode(made.stdout)  # each process prints them, perhaps on one line
    assert [two, json.loads(made.stdout[end:])] == [one, one]
    assert one[0]["samples"] == runs[0].results.data["test"]
