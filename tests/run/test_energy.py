"""Counters of energy: NVML and RAPL as files and fakes, since most machines have neither."""

import sys
import types

import pytest
import torch

from ffcore.run.energy import (
    CounterError,
    Gpu,
    Polling,
    Rapl,
    SampledPower,
    TotalEnergy,
    counters_of,
)

CUDA = torch.device("cuda", 1)


def domain(root, folder, name, energy, most=1_000_000):
    (root / folder).mkdir(exist_ok=True)
    for file, value in (("name", name), ("energy_uj", energy), ("max_energy_range_uj", most)):
        (root / folder / file).write_text(f"{value}\n")


def test_rapl_adds_packages_and_their_memory_but_no_parts_of_a_package(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0", 100)
    domain(tmp_path, "intel-rapl:0:0", "core", 5)
    domain(tmp_path, "intel-rapl:0:1", "dram", 7)
    domain(tmp_path, "intel-rapl:1", "psys", 9)
    counter = Rapl(tmp_path)
    assert counter.joules() == 0
    for folder, name, energy in (
        ("intel-rapl:0", "package-0", 600_100),
        ("intel-rapl:0:0", "core", 900_000),
        ("intel-rapl:0:1", "dram", 100_007),
        ("intel-rapl:1", "psys", 900_000),
    ):
        domain(tmp_path, folder, name, energy)
    assert counter.joules() == pytest.approx(0.7)
    assert counter.source == "RAPL (package-0, dram)"


def test_rapl_reads_a_package_once_that_is_listed_twice(tmp_path):
    for folder in ("intel-rapl:0", "intel-rapl-mmio:0"):
        domain(tmp_path, folder, "package-0", 0)
    counter = Rapl(tmp_path)
    for folder in ("intel-rapl:0", "intel-rapl-mmio:0"):
        domain(tmp_path, folder, "package-0", 500_000)
    assert counter.joules() == pytest.approx(0.5)
    assert counter.source == "RAPL (package-0)"


def test_rapl_counts_on_when_a_domain_wraps(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    counter = Rapl(tmp_path)
    domain(tmp_path, "intel-rapl:0", "package-0", 100_000)
    assert counter.joules() == pytest.approx(0.2)
    domain(tmp_path, "intel-rapl:0", "package-0", 150_000)
    assert counter.joules() == pytest.approx(0.25)


def test_why_rapl_cannot_be_read_is_said(tmp_path):
    with pytest.raises(CounterError, match="no RAPL domain in"):
        Rapl(tmp_path)
    domain(tmp_path, "intel-rapl:0", "package-0", "much")
    with pytest.raises(CounterError, match="'much' is not a number"):
        Rapl(tmp_path)
    (tmp_path / "intel-rapl:0/energy_uj").unlink()
    (tmp_path / "intel-rapl:0/energy_uj").mkdir()  # root may read every file, so another error of reading
    with pytest.raises(CounterError, match="energy_uj: Is a directory"):
        Rapl(tmp_path)


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch):
    """NVML with one GPU, whose counter and power a test sets."""
    module = types.ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.energy, module.watts, module.asked = 5_000_000, 100.0, []
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetHandleByUUID = lambda uuid: module.asked.append(uuid) or "handle"
    module.nvmlDeviceGetName = lambda handle: "A100"
    module.nvmlDeviceGetTotalEnergyConsumption = lambda handle: module.energy
    module.nvmlDeviceGetPowerUsage = lambda handle: int(1000 * module.watts)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    properties = types.SimpleNamespace(uuid="8c1f")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return module


def test_the_total_energy_of_the_gpu_that_torch_uses(nvml):
    counter = TotalEnergy(Gpu(CUDA))
    assert nvml.asked == ["GPU-8c1f"]
    nvml.energy += 2500
    assert counter.joules() == pytest.approx(2.5)
    nvml.energy = 300  # the driver was loaded again
    assert counter.joules() == pytest.approx(2.8)


def test_sampled_power_is_integrated_by_the_trapezoidal_rule(nvml):
    now = [0.0]
    counter = SampledPower(Gpu(CUDA), lambda: now[0])
    now[0], nvml.watts = 0.5, 300.0
    assert counter.joules() == pytest.approx(0.5 * 200)
    now[0] = 1.0
    assert counter.joules() == pytest.approx(0.5 * 200 + 0.5 * 300)
    assert counter.remark == ""


def test_a_time_without_samples_is_left_out_and_named(nvml):
    now = [0.0]
    counter = SampledPower(Gpu(CUDA), lambda: now[0])
    now[0] = 3600.0  # the machine was suspended
    assert counter.joules() == 0
    assert counter.remark == "3600 s without samples are left out"
    now[0] = 3000.0  # a clock that jumps back
    assert counter.joules() == 0
    now[0] = 3001.0
    assert counter.joules() == pytest.approx(100)


def test_a_gpu_without_counters_says_why(nvml):
    def refused(handle):
        raise NVMLError("Not Supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = refused
    counters, missing = counters_of(CUDA)
    assert "gpu, sampled" in [counter.name for counter in counters]
    assert missing["gpu"] == "NVML: Not Supported"


def test_without_nvml_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    _, missing = counters_of(CUDA)
    assert "pip install ffcore[energy]" in missing["gpu"]


def test_a_cpu_has_no_gpu_counter():
    counters, missing = counters_of(torch.device("cpu"))
    assert {counter.name for counter in counters} | missing.keys() == {"cpu"}


def test_a_counter_that_fails_is_lost_with_its_reason(nvml):
    polling = Polling([TotalEnergy(Gpu(CUDA)), SampledPower(Gpu(CUDA))])

    def gone(handle):
        raise NVMLError("GPU is lost")

    nvml.nvmlDeviceGetTotalEnergyConsumption = gone
    assert polling.read().keys() == {"gpu, sampled"}
    assert polling.lost == {"gpu": "NVML: GPU is lost"}


def test_counters_are_polled_in_a_thread_that_ends(nvml):
    samples = []
    nvml.nvmlDeviceGetPowerUsage = lambda handle: samples.append(1) or 1000
    polling = Polling([SampledPower(Gpu(CUDA))], interval=0.001)
    polling.start()
    while len(samples) < 5:
        pass
    polling.stop()
    after = len(samples)
    polling.stop()
    assert len(samples) == after
