"""A program that is started again resumes the run that it has begun."""

import lightning
import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError

TRAINER = {"max_epochs": 2, "checkpoint_every": 3, "arrays": False, "threads": 1}


class CutError(RuntimeError):
    """The end of a process."""


class Cut(lightning.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 30:
            raise CutError


def test_the_same_call_resumes_a_run_from_python(tmp_path):
    def start(callbacks=(), **more):
        torch.manual_seed(0)
        network = [nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU())]
        options = {"network": network, "trainer": TRAINER, "report": False, **more}
        run_dir = tmp_path / "run"
        return ffcore.train("digits/ff", run_dir=run_dir, auto_resume=True, callbacks=callbacks, **options)

    with pytest.raises(CutError):
        start([Cut()])
    with pytest.raises(UserError, match="a run of another recipe: its seed is 1, not 5"):
        start(seed=5)
    run, same = start(), start()
    assert run.results["resumed_after_steps"] == [27]
    assert same.results == run.results
    x = torch.rand(5, 1, 8, 8)
    assert torch.equal(same.module.net.predict(x), run.module.net.predict(x))


def test_a_run_without_a_directory_cannot_be_resumed():
    with pytest.raises(UserError, match="auto_resume: needs run_dir"):
        ffcore.train("digits/ff", auto_resume=True)
