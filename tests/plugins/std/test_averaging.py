"""Averages of weights over a growing part of a run."""

import pytest
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import nn
from torch.optim.swa_utils import AveragedModel

import ffcore
from ffcore_std.averaging import GrowingAverage


def averages(values, share):
    """Returns the averages of a weight that has these values after its updates."""
    callback, layer = GrowingAverage(share), nn.Linear(1, 1, bias=False)
    model, found = AveragedModel(layer, avg_fn=callback._average), []
    for value in values:
        nn.init.constant_(layer.weight, value)
        model.update_parameters(layer)
        found.append(model.module.weight.item())
    return found


def test_the_whole_share_is_the_mean_of_all_weights():
    assert averages([1.0, 2.0, 6.0], share=1) == pytest.approx([1, 1.5, 3])


def test_the_average_follows_its_formula():
    # 1; 1 + (3 − 1)/1.5; then + (0 − that)/2
    assert averages([1.0, 3.0, 0.0], share=0.5) == pytest.approx([1, 1 + 2 / 1.5, (1 + 2 / 1.5) / 2])


def test_a_late_average_has_a_long_memory_and_an_early_one_a_short():
    steps = [0.0] * 200 + [1.0] * 20
    late = averages(steps, share=0.1)[-1]
    early = averages([0.0] * 5 + [1.0] * 20, share=0.1)[-1]
    assert late < 0.7
    assert early > 0.98


def test_it_averages_every_few_steps():
    assert [GrowingAverage(every=3).should_update(step_idx=step) for step in range(4)] == [
        True,
        False,
        False,
        True,
    ]
    assert not GrowingAverage().should_update(epoch_idx=0)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        GrowingAverage(share)


def test_a_run_is_tested_with_the_average_and_learns_from_the_last_weights(tmp_path):
    class Watch(GrowingAverage):
        """Keeps the last weights of learning, and the averages."""

        def on_train_end(self, trainer, pl_module):
            self.last = next(pl_module.parameters()).detach().clone()
            super().on_train_end(trainer, pl_module)
            self.average = next(pl_module.parameters()).detach().clone()

    watch = Watch()
    assert isinstance(watch, WeightAveraging)
    options = {"trainer.max_epochs": 1, "trainer.threads": 1, "report": False}
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", callbacks=[watch], **options)
    tested = next(run.module.parameters())
    assert torch.equal(tested, watch.average)
    assert not torch.equal(tested, watch.last)
