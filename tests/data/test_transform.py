import numpy as np
import pytest
import torch

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.errors import UserError

SHORT = {"trainer.max_epochs": 1, "trainer.threads": 1, "trainer.bar": False}
MODULE = """
def rows(x):
    return x.mean(3).flatten(1).repeat(1, 2)

def fails(x):
    raise RuntimeError("no such band")

def loses(x):
    return x[1:]
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "changes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_run_on_transformed_samples_equals_one_on_samples_changed_beforehand(tmp_path):
    how = {**SHORT, "data.validation": 0}  # of arrays other samples would be split off
    run = ffcore.train("digits/ff", run_dir=tmp_path / "a", **how, **{"data.transform": "changes:rows"})
    raw = ffcore.train("digits/ff", run_dir=tmp_path / "raw", **SHORT).predictor()
    assert run.predictor().shape == raw.shape == (1, 8, 8)  # samples are given as they are stored
    images = ffcore.data.digits.Digits().load()
    test = images.test

    def changed(x):
        return np.tile((x.astype(np.float32) / 16).mean(3).reshape(len(x), -1), 2)

    train = images.train
    data = InMemory(changed(train.x), train.y, changed(test.x), test.y)
    again = ffcore.train("digits/ff", run_dir=tmp_path / "b", data=data, **how)
    assert again.results["test"]["accuracy"] == run.results["test"]["accuracy"]
    scores = run.predictor().scores(test.x)
    np.testing.assert_allclose(scores, again.predictor().scores(changed(test.x)), rtol=1e-4)
    assert ffcore.evaluate(run).accuracy == run.results["test"]["accuracy"]
    assert run.predictor().score(test.x, test.y) == pytest.approx(run.results["test"]["accuracy"])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("changes:fails", "data.transform: fails raised RuntimeError: no such band"),
        (
            "changes:loses",
            r"data.transform: loses returned \(1, 1, 8, 8\); it should be",
        ),
        ("changes:none", "data.transform: 'changes:none' cannot be imported"),
        ("math:pi", "data.transform: 'math:pi' should be a function"),
    ],
)
def test_functions_that_do_not_return_samples_are_refused(tmp_path, function, message):
    with pytest.raises(UserError, match=message):
        ffcore.train("digits/ff", run_dir=tmp_path / "run", **SHORT, **{"data.transform": function})
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_function_from_python_is_given_again_to_load(tmp_path):
    run = ffcore.train(
        "digits/ff", run_dir=tmp_path / "a", **SHORT, **{"data.transform": lambda x: x.flatten(1)}
    )
    x = torch.randint(17, (3, 1, 8, 8), dtype=torch.uint8)
    with pytest.raises(UserError, match=r"data\.transform: function .* was given from Python"):
        ffcore.load(run.path)
    loaded = ffcore.load(run.path, **{"data.transform": lambda x: x.flatten(1)})
    assert loaded.predict(x).shape == (3,)


@pytest.mark.usefixtures("undrawn")
def test_floats_and_bytes_are_scaled_alike(tmp_path):
    run = ffcore.train(
        "digits/ff",
        run_dir=tmp_path / "run",
        **SHORT,
        **{"data.transform": lambda x: x * x, "data.standardise": True},
    )
    x = ffcore.data.digits.Digits().load().test.x[:50]
    predictor = run.predictor()
    np.testing.assert_allclose(predictor.scores(x), predictor.scores(x.astype(np.float32)), rtol=1e-4)


def test_a_function_that_works_in_place_does_not_change_the_arrays_of_the_user(tmp_path):
    x = np.random.default_rng(0).random((60, 12), dtype=np.float32)
    before, data = x.copy(), InMemory(x, np.arange(60) % 3)
    transform = {"data.transform": lambda x: x.mul_(2)}
    runs = [
        ffcore.train("digits/ff", run_dir=tmp_path / name, data=data, report=False, **SHORT, **transform)
        for name in "ab"
    ]
    assert np.array_equal(x, before)
    assert len(runs[0].predictor().predict(x[:0])) == 0  # no samples, no call
    one, other = (run.predictor().scores(x[:5]) for run in runs)
    assert np.array_equal(one, other)


def test_functions_that_couple_samples_are_refused(tmp_path):
    with pytest.raises(UserError, match="changes a sample in another way when it is alone"):
        ffcore.train(
            "digits/ff", run_dir=tmp_path / "run", **SHORT, **{"data.transform": lambda x: x - x.mean(0)}
        )
