"""Runs with a black box in the network."""

import json
import signal
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import ffcore
from ffcore.cli.main import main
from ffcore.errors import RunError, UserError
from ffcore.local import BoxStage
from ffcore.trust import trusting
from ffcore_blackbox import onnx
from ffcore_blackbox.crossbar import Crossbar
from ffcore_blackbox.estimator import Estimator

SMALL = {"network.0.units": 40, "network.2.units": 30, "trainer": {"max_epochs": 3, "threads": 1}}
FEW = {"data.batch_size": 100}  # calls of a box
pytestmark = pytest.mark.usefixtures("undrawn")


def run(name, folder, **changes):
    return ffcore.train(name, run_dir=folder, **{**SMALL, **changes})


@pytest.mark.thorough
def test_digits_are_learned_around_a_sign(tmp_path):
    made = ffcore.train(
        "digits/blackbox-sign",
        run_dir=tmp_path / "run",
        **{"network.0.units": 200, "network.2.units": 200, "trainer": {"max_epochs": 8, "threads": 1}},
    )
    assert made.results["test"]["accuracy"] >= 0.9


@pytest.mark.parametrize("name", ["quantise", "sklearn", "process", "analog"])
def test_every_kind_trains_predicts_and_loads(tmp_path, name):
    made = run(f"digits/blackbox-{name}", tmp_path / "run", **FEW)
    predictor = ffcore.load(tmp_path / "run", trust=True)
    x = np.random.default_rng(0).integers(0, 17, (20, 1, 8, 8)).astype(np.uint8)
    here = made.module.scores(torch.from_numpy(x.astype(np.float32)) / 16)
    torch.testing.assert_close(predictor.scores(torch.from_numpy(x)), here.cpu())
    for module in (made.module, predictor.module):
        for stage in module.network.boxes:
            stage.box.close()


@pytest.mark.parametrize("name", ["quantise", pytest.param("sklearn", marks=pytest.mark.thorough)])
def test_a_resumed_run_ends_like_one_that_was_never_stopped(tmp_path, name):
    whole = run(f"digits/blackbox-{name}", tmp_path / "whole", **FEW)

    class Break(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 14"):
        run(f"digits/blackbox-{name}", tmp_path / "cut", callbacks=[Break()], **FEW)
    again = ffcore.resume(tmp_path / "cut", trust=True)
    states = [module.state_dict() for module in (whole.module, again.module)]
    for key in states[0]:
        if not key.endswith("extra_state"):  # a pickle of a pickle has other bytes
            torch.testing.assert_close(states[1][key], states[0][key], rtol=0, atol=0)
    x = torch.rand(30, 1, 8, 8)
    torch.testing.assert_close(again.module.scores(x), whole.module.scores(x), rtol=0, atol=0)


def test_a_pickle_is_opened_only_where_it_is_trusted(tmp_path, capsys):
    run("digits/blackbox-sklearn", tmp_path / "run", **FEW)
    with pytest.raises(UserError, match=r"the fitted RandomTreesEmbedding is a pickle .* trust=True"):
        ffcore.load(tmp_path / "run")
    assert main(["eval", str(tmp_path / "run")]) == 2
    assert "ffcore --trust VERB" in capsys.readouterr().err
    assert main(["--trust", "eval", str(tmp_path / "run")]) == 0


def test_a_process_that_dies_in_the_middle_stops_the_run_and_leaves_its_checkpoint(tmp_path):
    server = tmp_path / "server.py"
    server.write_text(
        "import struct, sys\ni, o = sys.stdin.buffer, sys.stdout.buffer\nn = 0\n"
        "while h := i.read(8):\n    d = struct.unpack('<2Q', i.read(16)); x = i.read(4 * d[0] * d[1])\n"
        "    n += 1\n    if n > 90: sys.exit('too tired')\n"
        "    o.write(h + struct.pack('<2Q', *d) + x); o.flush()\n"
    )
    box = {"kind": "process", "command": [sys.executable, str(server)]}
    with pytest.raises(RunError, match=r"blackbox1, network.1.box.*ended with code 1.*too tired"):
        run("digits/blackbox-process", tmp_path / "run", **{"network.1.box": box, "data.batch_size": 50})
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] > 0


def test_the_shape_of_a_box_is_shown(capsys):
    assert main(["show", "digits/blackbox-sklearn", "--build"]) == 0
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("blackbox1"))
    assert "black box Estimator" in line
    assert line.split()[1].isdecimal()


def test_a_box_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    wrong = {"kind": "winner-take-all", "group": 7}
    with pytest.raises(UserError, match=r"blackbox1, network\.1\.box .*group: 7 does not divide 40 units"):
        run("digits/blackbox-sign", tmp_path / "run", **{"network.1.box": wrong})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("fit", "complaint"),
    [("finished", "fit: finished: with this schedule"), (3, "fit: 3: the run has 3 epochs")],
)
def test_a_fit_that_would_never_come_is_refused(tmp_path, fit, complaint):
    with pytest.raises(UserError, match=complaint):
        run("digits/blackbox-quantise", tmp_path / "run", **{"network.1.fit": fit})


def test_a_cache_is_refilled_after_a_box_before_it_is_fitted(tmp_path):
    greedy = {"schedule": {"kind": "greedy", "epochs": 1}, "network.1.fit": 2, "trainer.max_epochs": 3}
    plain, cached = (
        run("digits/blackbox-quantise", tmp_path / str(cache), **{**greedy, "schedule.cache": cache})
        for cache in (False, True)
    )
    box = cached.module.network.boxes[0].box
    torch.testing.assert_close(box.high, plain.module.network.boxes[0].box.high)
    assert int(cached.module.network.boxes[0].fits) == 2


def test_a_box_that_nobody_reads_is_refused(tmp_path):
    net = [{"kind": "dense", "units": 20}, {"kind": "blackbox", "box": "sign"}]
    with pytest.raises(UserError, match=r"blackbox1, network.*no block comes after this black box"):
        ffcore.train("digits/blackbox-sign", run_dir=tmp_path / "run", network=net)


def test_a_failing_function_is_one_line_with_the_path(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("def f(x):\n    raise ValueError('no\\nluck')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "base: digits/blackbox-sign\nnetwork:\n  - {kind: dense, units: 20}\n"
        "  - {kind: blackbox, box: {kind: function, target: 'mine:f'}, name: luck}\n"
        "  - {kind: dense, units: 20}\n"
    )
    assert main(["run", str(tmp_path / "r.yaml"), "--run-dir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "luck, network.1.box" in said
    assert "r.yaml:4" in said
    assert "ValueError: no luck" in said
    assert not (tmp_path / "run").exists()


def test_another_device_of_a_crossbar_is_another_net(tmp_path):
    made = run("digits/blackbox-analog", tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test"]["accuracy"] > 0.5
    x = torch.rand(50, 1, 8, 8)
    before = made.module.scores(x)
    made.module.network.boxes[0].box = Crossbar((40,), 500, device=1, noise=0.5)
    assert not torch.allclose(made.module.scores(x), before)


@pytest.mark.parametrize(
    "box",
    [
        {"kind": "function", "target": "torch:sign"},
        {"kind": "array-function", "target": "numpy:sign", "rows": 30},
        {"kind": "onnx", "path": str(Path(onnx.__file__).with_name("relu.onnx"))},
        {"kind": "step", "threshold": 0.5},
        {"kind": "winner-take-all", "group": 10},
        {"kind": "look-up", "table": [0, 1, -1, 2]},
        {"kind": "sklearn", "name": "PCA", "options": {"n_components": 12}},
        pytest.param(
            {"kind": "sklearn", "name": "KBinsDiscretizer", "options": {"n_bins": 3, "encode": "onehot"}},
            marks=pytest.mark.thorough,
        ),
    ],
    ids=lambda box: box.get("name", box["kind"]),
)
@pytest.mark.filterwarnings("ignore:Bins whose width")
@pytest.mark.filterwarnings("ignore:Feature .* is constant")
def test_digits_are_learned_around_every_other_kind(tmp_path, box):
    if box["kind"] == "onnx":
        pytest.importorskip("onnxruntime")
    wide = {"network.0.units": 200, "network.2.units": 200, "trainer.max_epochs": 5}
    if box.get("name") == "KBinsDiscretizer":  # its time goes into each feature of each call
        wide |= {
            "network.0.units": 100,
            "data.batch_size": 50,
            "optimizer.lr": 3e-3,
            "trainer.validate_every": 5,
        }
    made = run("digits/blackbox-sign", tmp_path / "run", **{**wide, "network.1.box": box})
    assert made.results["test"]["accuracy"] > 0.5


class WithBox(nn.Module):
    """A model of another package, with a black box inside."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, 50), nn.ReLU())
        self.pca = BoxStage(Estimator("PCA", {"n_components": 20}), "pca")
        self.mid = nn.Sequential(nn.Linear(20, 50), nn.ReLU())
        self.fc = nn.Linear(50, 10)

    def forward(self, x):
        return self.fc(self.mid(self.pca(self.stem(x))))


def test_a_box_inside_a_localized_model_is_fitted_counted_and_saved():
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(digits.target)

    def localized():
        parts = {"algorithm": "local-errors", "goodness": "linear-head", "objective": "cross-entropy"}
        return ffcore.localize(WithBox(), at=["stem", "mid"], head="fc", example=x[:2], classes=10, **parts)

    net = localized()
    (stage,) = net.local.boxes
    with pytest.raises(UserError, match="pca: it has not been fitted"):
        net.learn(x[:50], y[:50], ffcore.optimizers(net, torch.optim.Adam, lr=1e-3))
    assert net.fit_boxes(zip(x[:500].split(100), y[:500].split(100), strict=True))
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    for _ in range(3):
        for rows in torch.arange(1500).split(50):
            net.learn(x[rows], y[rows], optimizers)
    assert stage.use["learning"].rows >= 3 * 1500
    assert stage.use["fitting"][:2] == (1, 500)
    right = (net.predict(x[1500:]) == y[1500:]).float().mean()
    assert right > 0.6
    again = localized()
    with trusting():
        again.load_state_dict(net.state_dict())
    assert torch.equal(again.predict(x[1500:]), net.predict(x[1500:]))
    model = ffcore.delocalize(net).eval()
    assert torch.equal(model(x[1500:]).argmax(1), again.predict(x[1500:]))
