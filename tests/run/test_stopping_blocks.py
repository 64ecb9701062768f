"""Runs whose blocks stop learning when they do not improve on validation."""

import csv
import signal

import lightning as L
import pytest
import torch

import ffcore
from ffcore.errors import UserError

FEW = {
    "network.0.units": 20,
    "optimizer.lr": 0.01,
    "data.batch_size": 100,
    "trainer.max_epochs": 30,
    "trainer.threads": 1,
    "trainer.arrays": False,
    "report": False,
}
STOPPING = {"kind": "stopping", "patience": 2}


def trained(folder, **options):
    return ffcore.train("digits/mono-forward", run_dir=folder, **FEW, **options)


def windows_of(run):
    return run.module.net.schedule.state_dict()


def test_a_run_ends_when_all_blocks_have_stopped_and_costs_less(tmp_path):
    run = trained(tmp_path / "run", schedule=STOPPING)
    assert run.results["epochs"] < 30
    assert max(run.results["stopped"].values()) == run.results["epochs"]
    assert len(run.results["stopped"]) == 2
    learning = run.results["costs"]["phases"]["learning"]
    assert learning["samples"] == 1293 * run.results["epochs"]
    # some block has learned for fewer epochs than the run
    assert learning["multiplications"] < learning["samples"] * run.results["cost_sheet"]["learn"]


def test_a_greedy_run_with_patience_learns_all_blocks_in_turn(tmp_path):
    run = trained(tmp_path / "run", schedule={"kind": "greedy", "patience": 1})
    (state,) = windows_of(run).values()
    ends = [end for end in state["ends"] if end is not None]
    assert ends == sorted(ends)
    assert ends


def losses_of(run):
    """Returns the epochs in which each block had a loss."""
    with (run.path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: [int(row["epoch"]) for row in rows if row[f"{name}/loss"]] for name in ("dense1", "dense2")}


def test_a_greedy_run_with_patience_ends_after_the_epochs_of_its_last_block(tmp_path):
    run = trained(tmp_path / "run", schedule={"kind": "greedy", "epochs": [2, 1], "patience": 9})
    assert run.results["epochs"] == 3
    assert losses_of(run) == {"dense1": [1, 2], "dense2": [3]}
    assert not run.results["stopped"]


@pytest.mark.parametrize(
    ("schedule", "busy"),
    [({"kind": "greedy", "epochs": [2, 1]}, 3), ({"kind": "interleaved", "spans": [[0, 2], [1, 4]]}, 4)],
)
def test_a_run_in_whose_last_epochs_nothing_learns_is_refused(tmp_path, schedule, busy):
    expected = (
        rf"^schedule: no block learns after epoch {busy}, but trainer\.max_epochs is 30; set it to {busy}"
    )
    with pytest.raises(UserError, match=expected):
        trained(tmp_path / "run", schedule=schedule)
    assert not (tmp_path / "run").exists()


def test_readouts_learn_alone_after_the_epochs_of_all_blocks(tmp_path):
    options = {**FEW, "trainer.max_epochs": 4, "readouts": {"softmax": "softmax"}}
    schedule = {"kind": "greedy", "epochs": 1, "cache": True}
    run = ffcore.train("digits/mono-forward", run_dir=tmp_path / "run", schedule=schedule, **options)
    assert run.results["epochs"] == 4
    assert losses_of(run) == {"dense1": [1], "dense2": [2]}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("schedule", "epoch"), [(STOPPING, 7), ({"kind": "greedy", "epochs": [4, 3], "patience": 2}, 5)]
)
def test_a_resumed_run_stops_the_same_blocks(tmp_path, schedule, epoch):
    class Press(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == epoch:
                signal.raise_signal(signal.SIGINT)

    whole = trained(tmp_path / "whole", schedule=schedule)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", schedule=schedule, callbacks=[Press()])
    again = ffcore.resume(tmp_path / "cut")
    assert windows_of(again) == windows_of(whole)
    assert again.results["epochs"] == whole.results["epochs"]
    for name, value in whole.module.network.state_dict().items():
        assert torch.equal(value, again.module.network.state_dict()[name]), name


def test_stopping_needs_a_validation_split(tmp_path):
    with pytest.raises(
        UserError, match=r"schedule: it stops blocks by validation, but data\.validation is 0"
    ):
        trained(tmp_path / "run", schedule=STOPPING, **{"data.validation": 0})
    assert not (tmp_path / "run").exists()


def test_a_loop_that_does_not_say_its_epoch_is_refused():
    net = ffcore.from_recipe("digits/mono-forward", shape=(1, 8, 8), classes=10, schedule="stopping")
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    with pytest.raises(UserError, match=r"pass progress=Progress.*net\.schedule\.measured"):
        net.learn(torch.rand(4, 1, 8, 8), torch.arange(4), optimizers)
