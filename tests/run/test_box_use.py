"""Calls of black boxes are counted by purpose: in your own loop, in runs and in resumed runs."""

import json
import signal

import lightning as L
import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import BoxError
from ffcore.local.box_use import Use

FEW = {
    "network.0.units": 20,
    "trainer.max_epochs": 2,
    "trainer.threads": 1,
    "data.batch_size": 100,
}
STEPS, SAMPLES, HELD_OUT = 13, 1293, 144


def boxes(run):
    (use,) = run.results["boxes"].values()
    return use


def test_a_loop_of_your_own_is_learning_and_predictions_are_not():
    torch.manual_seed(0)
    blocks = [ffcore.LocalBlock(nn.Linear(4, 4), "logits", objective="cross-entropy") for _ in range(2)]
    x, y = torch.randn(6, 4), torch.arange(6) % 4
    net = ffcore.Network([blocks[0], torch.sign, blocks[1]], "local-errors", example=x[:2], classes=4)
    (stage,) = net.local.boxes
    assert stage.use["building"].calls == 1
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    for _ in range(3):
        net.learn(x, y, optimizers)
    net.predict(x[:5])
    assert stage.use["learning"][:2] == (3, 18)
    assert stage.use["predicting"][:2] == (1, 5)
    assert 0 < stage.use["learning"].seconds < 10


def test_a_run_counts_the_rows_of_both_views_and_its_measurements(tmp_path):
    run = ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "run", report=False, **FEW)
    assert boxes(run)["learning"] == {
        "calls": 2 * STEPS,
        "rows": 2 * 2 * SAMPLES,
        "seconds": boxes(run)["learning"]["seconds"],
        "counts": {},
    }
    assert boxes(run)["measuring"]["rows"] > 10 * HELD_OUT  # one label after the other
    assert "building" not in boxes(run)
    assert "fitting" not in boxes(run)


def test_a_fit_and_the_boxes_before_it_are_counted_apart(tmp_path):
    first, box = {"kind": "blackbox", "box": "sign"}, {"kind": "blackbox", "box": "quantise"}
    network = [{"kind": "dense", "units": 20}, first, box, {"kind": "dense", "units": 20}]
    run = ffcore.train(
        "digits/blackbox-sign",
        run_dir=tmp_path / "run",
        report=False,
        **{**FEW, "network": network, "trainer.max_epochs": 1},
    )
    sign, quantise = run.results["boxes"].values()
    assert sign["fitting"]["calls"] == STEPS  # all batches of an epoch
    assert quantise["fitting"]["calls"] == 1


@pytest.mark.usefixtures("undrawn")
def test_a_resumed_run_has_the_counts_of_an_uninterrupted_one(tmp_path):
    class Press(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGINT)

    options = {**FEW, "report": False}
    whole = ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "cut", callbacks=[Press()], **options)
    again = ffcore.resume(tmp_path / "cut")
    counts = [
        {purpose: (use["calls"], use["rows"]) for purpose, use in boxes(run).items()}
        for run in (whole, again)
    ]
    assert counts[0] == counts[1]
    assert json.loads((tmp_path / "cut/results.json").read_text())["boxes"] == again.results["boxes"]


@pytest.mark.thorough
def test_a_run_without_arrays_gives_fewer_rows_to_a_box(tmp_path):
    rows = []
    for arrays in (True, False):
        options = {**FEW, "trainer.max_epochs": 1, "trainer.arrays": arrays}
        run = ffcore.train("digits/blackbox-sign", run_dir=tmp_path / str(arrays), **options)
        rows.append(boxes(run)["measuring"]["rows"])
    # ten labels for each validation and test sample; nothing else
    assert rows[1] == 10 * (HELD_OUT + 360)
    assert rows[0] > rows[1] + 1000
    assert (tmp_path / "False/report.md").exists()


def test_uses_add_up():
    one, other = Use(1, 2, 0.5, {"asked": 1}), Use(10, 20, 1.0, {"asked": 2, "repeated": 1})
    assert one.plus(other) == Use(11, 22, 1.5, {"asked": 3, "repeated": 1})


def test_a_run_shows_how_many_rows_a_cached_box_has_asked_for(tmp_path):
    options = {**FEW, "trainer.arrays": False, "network.1.box": {"kind": "cached", "box": "sign"}}
    run = ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "run", **options)
    learning, measuring = boxes(run)["learning"], boxes(run)["measuring"]
    assert 0 < learning["counts"]["rows asked"] <= learning["rows"]
    assert 0 < measuring["counts"]["rows asked"] <= measuring["rows"]
    assert "rows asked" in (tmp_path / "run/report.md").read_text()


def test_the_error_of_a_box_names_the_command_that_resumes_the_run(tmp_path):
    calls = []

    def down_for_a_moment(x):
        calls.append(len(x))
        if len(calls) == 30:
            raise OSError("the server is down")
        return x.sign()

    options = {**FEW, "network.1.box": down_for_a_moment, "report": False}
    with pytest.raises(BoxError, match=r"the server is down.*once the box works, resume it with"):
        ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "run", **options)
