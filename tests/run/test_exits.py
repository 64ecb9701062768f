"""Early exits of finished runs: chosen on validation, measured on test data, used by a predictor."""

import json
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import get_scorer

import ffcore
from ffcore.cli.main import main
from ffcore.data.digits import Digits
from ffcore.data.images import Split
from ffcore.errors import RunError, UserError
from ffcore.report.exit_record import ExitRecord
from ffcore.run import exits
from ffcore.run.evaluate import evaluate
from ffcore.run.exits import choose_exits

RAW = load_digits().data[:300]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A small digits/ff with a readout after two epochs, and its exits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffcore.run.train.write_report", lambda *args: None)
        options = {
            "network.0.units": 60,
            "readouts": {"softmax": {"kind": "softmax"}},
            "trainer.max_epochs": 2,
            "trainer.threads": 1,
        }
        run = ffcore.train("digits/ff", run_dir=tmp_path_factory.mktemp("exits") / "run", **options)
    return run.path, choose_exits(run.path, 0.5)


@pytest.fixture
def copied(chosen, tmp_path):
    return shutil.copytree(chosen[0], tmp_path / "copy")


def stable(record):
    """Everything but times."""
    made = record.as_json()
    for way in made["ways"]:
        del way["milliseconds"]
    return made


def test_all_blocks_are_the_run_and_exits_are_cheaper(chosen):
    path, record = chosen
    whole, early, *others = record.ways
    for split, name in (("validation", "val"), ("test", "test")):
        assert getattr(whole, split).accuracy == pytest.approx(evaluate(path, name)["accuracy"])
    assert whole.test.blocks == 3
    assert early.validation.accuracy >= whole.validation.accuracy - 0.005
    assert early.test.multiplications < whole.test.multiplications
    assert all(way.milliseconds > 0 for way in record.ways)
    results = evaluate(path)["per_block_accuracy"]
    (readout,) = others
    assert readout.name == "readout softmax"
    assert readout.test.accuracy == pytest.approx(results["softmax"])
    assert readout.test.multiplications == (64 + 10) * 60 + 2 * 60 * 60 + 2 * 60 * 10


def test_the_standard_error_is_that_of_paired_differences(chosen):
    path, record = chosen
    predictor = ffcore.load(path)
    test = Digits().load().test
    lost = 1.0 * (predictor.predict(test.x) == test.y) - (predictor.early().predict(test.x) == test.y)
    assert record.standard_error == pytest.approx(100 * lost.std() / math.sqrt(len(lost)))


def test_what_is_measured_is_what_the_thresholds_promise(chosen):
    record = chosen[1]
    assert record.ways[1].test == record.tried[record.chosen].test
    assert record.ways[1].validation == record.tried[record.chosen].validation
    assert record.tried[-1].t is None
    assert record.ways[0].test == record.tried[-1].test
    costs = [each.validation.multiplications for each in record.tried]
    assert costs == sorted(costs)
    # the first layer multiplies the sample once, and the code of every label
    first, later = 64 * 60 + 10 * 10 * 60, 10 * 60 * 60
    assert [each.multiplications for each in record.exits] == [first, first + later, first + 2 * later]


def test_each_exit_has_the_share_of_the_test_samples_that_leave_there(chosen):
    path, record = chosen
    blocks = ffcore.load(path).early().decide(Digits().load().test.x).blocks
    assert [each.share for each in record.exits] == pytest.approx([(blocks == b).mean() for b in (1, 2, 3)])


def test_the_file_is_the_record_and_small_tolerances_cost_more(chosen, copied):
    assert ExitRecord.read(chosen[0]) == chosen[1]
    strict = choose_exits(copied, 0)
    whole, early = strict.ways[:2]
    assert early.validation.accuracy >= whole.validation.accuracy
    assert early.validation.multiplications >= chosen[1].ways[1].validation.multiplications


def test_test_labels_take_no_part_in_the_choice(chosen, copied, monkeypatch):
    real = exits.open_data

    def shuffled(*args):
        data = real(*args)
        test = data.images.test
        return replace(data, images=replace(data.images, test=Split(test.x, np.roll(test.y, 1))))

    monkeypatch.setattr(exits, "open_data", shuffled)
    before, after = stable(chosen[1]), stable(choose_exits(copied, 0.5))
    assert after["ways"][0]["test"]["accuracy"] < 0.5, "the labels are wrong"
    for made in (before, after):
        del made["standard_error"]
        for part in (*made["ways"], *made["tried"]):
            del part["test"]["accuracy"]
    assert before == after


def test_the_predictor_stops_early(chosen):
    path, record = chosen
    predictor = ffcore.load(path)
    early = predictor.early()
    made = early.decide(RAW)
    assert made.classes.shape == made.blocks.shape == (300,)
    assert made.scores.shape == (300, 10)
    assert set(made.blocks.tolist()) <= {1, 2, 3}
    assert made.blocks.mean() < 3
    assert np.array_equal(early.predict(RAW), made.classes)
    assert np.array_equal(made.classes, made.scores.argmax(1))
    last = made.blocks == 3
    assert np.allclose(made.scores[last], predictor.scores(RAW)[last], rtol=1e-4)
    tensors = early.decide(torch.tensor(RAW))
    assert isinstance(tensors.blocks, torch.Tensor)
    assert early.decide(RAW[:0]).classes.shape == (0,)
    assert early.blocks == (1, 2, 3)
    assert early.thresholds == tuple(each.threshold for each in record.exits[:-1])
    assert repr(early) == f"Predictor({str(path)!r}).early()"


def test_the_early_predictor_is_a_classifier_like_the_predictor(chosen):
    early, test = ffcore.load(chosen[0]).early(), Digits().load().test
    made = early.decide(test.x)
    assert early.classes == tuple("0123456789")
    assert np.array_equal(early.classes_, np.arange(10))
    assert early.score(test.x, test.y) == pytest.approx((made.classes == test.y).mean())
    assert early.score(test.x, [str(k) for k in test.y]) == early.score(test.x, test.y)
    assert early.score(test.x, test.y) == pytest.approx(chosen[1].ways[1].test.accuracy)
    assert np.array_equal(early.scores(test.x), made.scores)
    power = np.exp(made.scores - made.scores.max(1, keepdims=True))
    np.testing.assert_allclose(early.predict_proba(test.x), power / power.sum(1, keepdims=True), atol=1e-6)
    assert isinstance(early.predict_proba(torch.tensor(test.x)), torch.Tensor)
    assert get_scorer("accuracy")(early, test.x, test.y) == early.score(test.x, test.y)
    with pytest.raises(UserError, match="already trained"):
        early.fit(test.x, test.y)
    with pytest.raises(UserError, match="3 samples, but y has 2 classes"):
        early.score(test.x[:3], test.y[:2])


def test_without_thresholds_it_predicts_with_all_blocks(copied):
    made = json.loads((copied / "exits.json").read_text())
    for exit_ in made["exits"]:
        exit_["threshold"] = None
    (copied / "exits.json").write_text(json.dumps(made))
    predictor = ffcore.load(copied)
    decided = predictor.early().decide(RAW)
    assert decided.blocks.tolist() == [3] * 300
    assert np.array_equal(decided.scores, predictor.scores(RAW))


def test_nan_scores_are_not_decided(chosen):
    predictor = ffcore.load(chosen[0])
    early = predictor.early()
    with torch.no_grad():
        next(predictor.module.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match="the scores of sample 0 are NaN"):
        early.decide(RAW)


def test_a_run_without_exits_or_with_other_weights_is_refused(copied):
    predictor = ffcore.load(copied)
    with torch.no_grad():
        next(predictor.module.parameters())[0] += 1
    with pytest.raises(UserError, match="belong to other weights; choose them with: ffcore eval"):
        predictor.early()
    (copied / "exits.json").unlink()
    with pytest.raises(UserError, match=f"{re.escape(str(copied))}: has no thresholds"):
        ffcore.load(copied).early()


def test_a_resumed_run_has_no_exits_of_its_earlier_weights(quick, tmp_path):
    run = quick(run_dir=tmp_path / "run")
    choose_exits(run.path)
    (run.path / "results.json").unlink()
    ffcore.resume(run.path, report=False)
    assert not (run.path / "exits.json").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.pop("exits"), "exits: Field required"),
        (lambda made: made.update(format=2), "format: Input should be 1"),
        (lambda made: made.update(chosen=99), "chosen is 99"),
        (lambda made: made["tried"][0]["test"].update(accuracy=2.0), "tried.0.test.accuracy"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(copied, change, reason):
    made = json.loads((copied / "exits.json").read_text())
    change(made)
    (copied / "exits.json").write_text(json.dumps(made))
    with pytest.raises(UserError, match=reason) as caught:
        ffcore.load(copied).early()
    assert "\n" not in str(caught.value)


def test_runs_without_a_validation_split_are_refused(quick):
    run = quick(**{"data.validation": 0})
    with pytest.raises(UserError, match="the validation split, which the run has not"):
        choose_exits(run.path)
    assert not (run.path / "exits.json").exists()


def test_other_data_are_refused(chosen, tmp_path):
    images = load_digits().images[:, None].astype("uint8")
    path = tmp_path / "other.npz"
    y = load_digits().target.astype("int64")
    np.savez(path, x_train=images[:1000], y_train=y[:1000], x_test=images[1000:], y_test=y[1000:])
    with pytest.raises(UserError, match=r"on the run's own validation split, but .* has other data"):
        choose_exits(chosen[0], overrides=("data.kind=arrays", f"data.path={path}"))
    with pytest.raises(UserError, match="only the source of the data may change"):
        choose_exits(chosen[0], overrides=("data.validation=5",))


@pytest.mark.parametrize("tolerance", [-1, 101, "0.1"])
def test_a_wrong_tolerance_is_refused(chosen, tolerance):
    with pytest.raises(UserError, match="tolerance"):
        choose_exits(chosen[0], tolerance)


def test_the_command_prints_tables_and_json(copied, capsys):
    assert main(["eval", str(copied), "--exits", "--tolerance", "1"]) == 0
    out = capsys.readouterr().out
    for words in (
        "all blocks",
        "exits",
        "readout softmax",
        "tolerance: 1 percentage point",
        "exits.json",
        "dense2",
    ):
        assert words in out
    assert main(["eval", str(copied), "--exits", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["tolerance"] == 0.1
    assert made == json.loads((copied / "exits.json").read_text())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--exits", "--probe"], "--exits: leave --probe out"),
        (["--exits", "--split", "val"], "--exits: leave --split out"),
        (["--tolerance", "1"], "--tolerance needs --exits"),
        (["--exits", "--tolerance", "-1"], "--tolerance"),
    ],
)
def test_options_that_do_not_fit_are_refused(chosen, options, reason, capsys):
    assert main(["eval", str(chosen[0]), *options]) == 2
    assert reason in capsys.readouterr().err
