"""What is the same on a GPU and on a CPU. Skipped without a GPU; `nox -s gpu` runs it first."""

import pytest
import torch
from gpu_equal import FIRST, compared

import ffcore
from ffcore.run.evaluate import evaluate
from ffcore.run.probe import probe
from ffcore_resnet.norms import GroupNorm, InstanceNorm


@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
@pytest.mark.parametrize("name", FIRST)
def test_a_recipe_learns_what_it_learns_on_a_cpu(gpu, name, precision):
    found = compared(name, gpu, precision)
    assert found["status"] != "differs", found


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_block_learns_the_same(gpu, precision):
    found = compared("digits/ff", gpu, precision, compile=True)
    assert found["status"] != "differs", found


@pytest.mark.parametrize("norm", [GroupNorm(4), InstanceNorm()])
def test_norms_keep_channels_last(gpu, norm):
    x = torch.randn(3, 8, 6, 6, device=gpu).to(memory_format=torch.channels_last).requires_grad_()
    made = norm(x)
    assert made.is_contiguous(memory_format=torch.channels_last)
    made.square().sum().backward()
    assert x.grad.is_contiguous(memory_format=torch.channels_last)


def test_a_run_is_evaluated_probed_and_loaded_on_a_gpu(gpu, tmp_path):
    options = {"network.0.units": 40, "trainer.max_epochs": 2, "trainer.accelerator": "cuda"}
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", report=False, **options)
    there, here = (evaluate(run.path, device=device) for device in (str(gpu), "cpu"))
    assert there["accuracy"] == pytest.approx(here["accuracy"], abs=0.01)
    predictor = ffcore.load(run.path, device=str(gpu))
    assert predictor.device == gpu
    x = torch.randint(17, (5, 64), dtype=torch.uint8)
    assert predictor.scores(x).device == x.device
    assert predictor.scores(x.to(gpu)).device == gpu
    assert predictor.predict(x.numpy()).shape == (5,)
    assert probe(run.path, samples=200, device=str(gpu))["blocks"].keys() == {"dense1", "dense2", "dense3"}
