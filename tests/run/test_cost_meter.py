"""Time, energy and memory by phase: in a loop of one's own, and in runs."""

import itertools
import json
import signal

import lightning as L
import pytest

import ffcore
from ffcore.errors import UserError
from ffcore.run.energy import Counter, CounterError

FEW = {
    "trainer.max_epochs": 2,
    "trainer.threads": 1,
    "data.batch_size": 100,
    "report": False,
    "network.0.units": 20,
}
SAMPLES, HELD_OUT, TESTED = 1293, 144, 360


class Steady(Counter):
    """Gives a joule more each time; fails after some readings."""

    name, source = "cpu", "a fake"

    def __init__(self, readings=1000):
        self.left, self.used = readings, 0.0

    def joules(self):
        self.left -= 1
        if self.left < 0:
            raise CounterError("unplugged")
        self.used += 1.0
        return self.used


@pytest.fixture
def unpolled(monkeypatch):
    monkeypatch.setattr("ffcore.run.energy.Polling.start", lambda self: None)


@pytest.mark.usefixtures("unpolled")
def test_energy_goes_to_the_phase_in_which_it_was_used():
    with ffcore.CostMeter(counters=[Steady()]) as meter:
        with meter.phase("learning", samples=10):
            meter.enter("learning")
            with meter.phase("validation"):
                pass
        with meter.phase("learning", samples=5):
            pass
    assert meter.phases["learning"].samples == 15
    # two readings in the phase, one before the inner phase and one after it, and one for the second time
    assert meter.phases["learning"].joules == {"cpu": 4.0}
    assert meter.phases["validation"].joules == {"cpu": 1.0}
    assert meter.phases["other"].joules == {"cpu": 3.0}
    assert meter.sources == {"cpu": "a fake"}


def test_cpu_time_goes_to_the_phase_in_which_it_was_used(monkeypatch):
    worked = itertools.count()
    monkeypatch.setattr("time.process_time", lambda: float(next(worked)))
    with ffcore.CostMeter(counters=[]) as meter, meter.phase("learning"), meter.phase("validation"):
        pass
    used = {name: spent.cpu_seconds for name, spent in meter.phases.items()}
    # read once at the start and once at each of four changes of the phase, and of the end
    assert used == {"other": 2.0, "learning": 2.0, "validation": 1.0}


def test_cpu_time_of_a_run_that_began_without_it_is_not_known():
    with ffcore.CostMeter(counters=[]) as before, before.phase("learning"):
        pass
    state = before.state_dict()
    del state["learning"]["cpu_seconds"]
    with ffcore.CostMeter(counters=[]) as meter, meter.phase("learning"):
        meter.load_state_dict(state)
    assert meter.phases["learning"].cpu_seconds is None
    assert meter.phases["other"].cpu_seconds is not None


def test_a_meter_of_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device: 'cuda', but torch finds no GPU"):
        ffcore.CostMeter("cuda")


def test_a_meter_prints_its_phases():
    with (
        ffcore.CostMeter(counters=[], missing={"cpu": "no RAPL"}) as meter,
        meter.phase("learning", samples=7),
    ):
        pass
    assert "learning: 0.00 s (0.00 s of CPU time), 7 samples" in repr(meter)
    assert "energy, cpu: not reported (no RAPL)" in repr(meter)


@pytest.mark.usefixtures("unpolled")
def test_a_lost_counter_leaves_no_part_of_its_energy():
    with ffcore.CostMeter(counters=[Steady(4)]) as meter:
        with meter.phase("learning"):
            pass
        with meter.phase("test"):
            pass
    assert all(not spent.joules for spent in meter.phases.values())
    assert meter.missing == {"cpu": "unplugged"}
    assert meter.sources == {}


class Scripted:
    """A counter without a base class, as docs/measuring.md describes it. Gives or raises what it is told."""

    name, source = "desk", "a plug"

    def __init__(self, *made):
        self.made = iter(made)

    def joules(self):
        made = next(self.made, 9.0)
        if isinstance(made, Exception):
            raise made
        return made


def test_a_counter_needs_no_more_than_a_name_a_source_and_joules():
    with ffcore.CostMeter(counters=[Scripted(1.0)]) as meter, meter.phase("learning"):
        pass
    assert meter.sources == {"desk": "a plug"}
    assert "(desk)" in repr(meter)


@pytest.mark.usefixtures("unpolled")
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (CounterError("unplugged"), "unplugged"),
        (float("nan"), "joules() returned nan, which is not a finite number"),
        (float("inf"), "joules() returned inf, which is not a finite number"),
        (None, "joules() returned None, which is not a finite number"),
        (-1.0, "joules() returned -1.0 after 2.0; it should never fall"),
        (1.5, "joules() returned 1.5 after 2.0; it should never fall"),
    ],
)
def test_a_counter_that_cannot_be_read_or_is_wrong_is_lost_and_the_loop_goes_on(made, why):
    with ffcore.CostMeter(counters=[Scripted(1.0, 2.0, made)]) as meter:
        with meter.phase("learning"):
            pass
        with meter.phase("test"):
            pass
    assert meter.missing == {"desk": why}
    assert all(not spent.joules for spent in meter.phases.values())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"device": "foo"}, "^CostMeter: device: 'foo' should be cpu, cuda, or cuda:1$"),
        ({"device": None}, "^CostMeter: device: None should be cpu"),
        ({"counters": Scripted()}, "^CostMeter: counters: should be a list of energy counters"),
        ({"counters": [object()]}, r"^CostMeter: counters\[0\]\.name: should be a text, not None$"),
        ({"counters": [Scripted(), Scripted()]}, r"counters\[1\]: another counter is called 'desk' already$"),
    ],
)
def test_a_meter_with_wrong_arguments_is_refused(options, expected):
    with pytest.raises(UserError, match=expected):
        ffcore.CostMeter(**options)


@pytest.mark.parametrize("samples", [-3, 1.5, True])
def test_a_wrong_number_of_samples_is_refused(samples):
    expected = f"^CostMeter: samples: should be an integer from 0, not {samples}$"
    with ffcore.CostMeter(counters=[]) as meter:
        with pytest.raises(UserError, match=expected), meter.phase("learning", samples=samples):
            pass
        with pytest.raises(UserError, match=expected):
            meter.count(samples)
    assert meter.phases.keys() == {"other"}


@pytest.mark.usefixtures("unpolled")
def test_energy_of_a_part_of_a_resumed_run_is_missing():
    with ffcore.CostMeter(counters=[]) as before, before.phase("learning", samples=100):
        pass
    with ffcore.CostMeter(counters=[Steady()]) as meter:
        meter.load_state_dict(before.state_dict())
        with meter.phase("learning", samples=10):
            pass
    assert meter.phases["learning"].samples == 110
    assert meter.missing == {"cpu": "read in a part of the run only"}
    assert meter.sources == {}


def test_a_run_knows_time_samples_and_multiplications_of_its_phases(tmp_path, monkeypatch):
    monkeypatch.setattr("ffcore.build.module_costs.Counts", None)  # those of the cost sheet are taken
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", **FEW)
    costs, sheet = run.results["costs"], run.results["cost_sheet"]
    phases = costs["phases"]
    assert {name: phase["samples"] for name, phase in phases.items()} == {
        "learning": 2 * SAMPLES,
        "validation": 2 * HELD_OUT,
        "test": TESTED,
        "other": 0,
    }
    assert phases["learning"]["multiplications"] == 2 * SAMPLES * sheet["learn"]
    assert phases["test"]["multiplications"] == TESTED * sheet["predict"]
    assert 0 < phases["learning"]["seconds"] <= run.results["wall_s"]
    assert phases["learning"]["cpu_seconds"] > 0
    assert costs["counters"].keys() | costs["missing"].keys() == {"cpu"}


def test_blocks_that_do_not_learn_cost_only_their_forward_pass(tmp_path):
    options = {**FEW, "schedule": "greedy", "trainer.max_epochs": 3}
    results = ffcore.train("digits/ff", run_dir=tmp_path / "run", **options).results
    # the first layer multiplies an image once for both views, and the ten columns of each label
    first, other = 20 * (64 + 2 * 10), 2 * 20 * 20
    # a gradient costs as much as the forward pass; blocks after the one that learns do not run
    epochs = 2 * first + (first + 2 * other) + (first + other + 2 * other)
    assert results["costs"]["phases"]["learning"]["multiplications"] == SAMPLES * epochs


@pytest.mark.parametrize("stopped", [False, True])
def test_finished_blocks_that_are_cached_cost_their_forward_pass_once(tmp_path, stopped):
    class Press(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if (trainer.current_epoch, batch_idx) == (3, 5):
                signal.raise_signal(signal.SIGINT)

    options = {**FEW, "schedule": {"kind": "greedy", "cache": True}, "trainer.max_epochs": 6}
    fills = 1
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            ffcore.train("digits/ff", run_dir=tmp_path / "run", callbacks=[Press()], **options)
        run, fills = ffcore.resume(tmp_path / "run", report=False), 2
    else:
        run = ffcore.train("digits/ff", run_dir=tmp_path / "run", **options)
    first, other = 20 * (64 + 2 * 10), 2 * 20 * 20
    learned = 2 * (2 * first + 2 * other + 2 * other)  # two epochs each
    filled = fills * first + first + other  # for the second block, then for the third
    learning = run.results["costs"]["phases"]["learning"]
    assert learning["multiplications"] == SAMPLES * (learned + filled)


@pytest.mark.usefixtures("undrawn")
def test_a_resumed_run_has_the_costs_of_all_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("ffcore.run.metering.counters_of", lambda device: ([Steady()], {}))

    class Press(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ffcore.train("digits/ff", run_dir=tmp_path / "run", callbacks=[Press()], **FEW)
    results = ffcore.resume(tmp_path / "run").results
    phases = results["costs"]["phases"]
    assert phases["learning"]["samples"] == 2 * SAMPLES
    assert phases["validation"]["samples"] == 2 * HELD_OUT
    assert phases["learning"]["joules"]["cpu"] > 1
    assert json.loads((tmp_path / "run/results.json").read_text())["costs"] == results["costs"]


@pytest.mark.thorough
def test_energy_stands_in_the_tables_of_run_and_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ffcore.run.metering.counters_of", lambda device: ([Steady()], {"gpu": "no permission"})
    )
    ffcore.train("digits/ff", run_dir=tmp_path / "run", **{**FEW, "report": True})
    text = (tmp_path / "run/report.md").read_text()
    assert "| energy, cpu |" in text
    assert "| CPU time |" in text
    assert "Energy, cpu: a fake." in text
    assert "Energy, gpu: not reported (no permission)." in text
