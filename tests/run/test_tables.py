"""A run on a table predicts other tables with the encoding of its training."""

import numpy as np
import pytest

import ffcore
from ffcore.cli.main import main
from ffcore.data.python import PythonData
from ffcore.errors import UserError
from ffcore.run.evaluate import evaluate
from ffcore.run.predictions import predictions

pandas = pytest.importorskip("pandas", reason="an optional part")

CITIES = ["Bern", "Lima", "Oslo"]


def people(count=300, seed=0):
    rng = np.random.default_rng(seed)
    age, city = rng.integers(18, 80, count), rng.choice(CITIES, count)
    kind = np.where(city == "Lima", "c", np.where(age > 45, "b", "a"))
    return pandas.DataFrame({"age": age.astype(float), "city": city, "kind": kind})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    table = people()
    table.loc[3, "age"] = None
    table.to_csv(folder / "people.csv", index=False)
    return ffcore.train(
        "tables/breast-cancer-ff",
        run_dir=folder / "run",
        data={"kind": "table", "path": str(folder / "people.csv"), "target": "kind", "missing": "mean"},
        algorithm={"kind": "local-errors"},
        network=[{"kind": "dense", "units": 32}],
        block={"goodness": "linear-head", "objective": "cross-entropy"},
        contribution="last",
        optimizer={"kind": "adam", "lr": 0.01},
        trainer={"max_epochs": 25, "threads": 1, "bar": False, "select": "last"},
        report=False,
    )


def test_tables_are_predicted_in_any_order_of_rows_and_columns(run):
    fresh = people(seed=1)
    predictor = run.predictor()
    right = predictor.predict(fresh)
    assert predictor.score(fresh, fresh["kind"].to_numpy()) > 0.9
    mixed = fresh[["kind", "city", "age"]].sort_values("city", kind="stable")
    assert np.array_equal(predictor.predict(mixed), right[mixed.index])
    assert np.array_equal(predictor.predict(fresh[fresh["city"] == "Bern"]), right[fresh["city"] == "Bern"])


def test_empty_cells_become_the_mean_of_training(run):
    row = people(1, seed=2)
    row["age"] = None
    assert run.predictor().predict(row).shape == (1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.replace("Lima", "Zurich"),
            "'Zurich' does not occur in training; the values are 'Bern', 'Lima'",
        ),
        (lambda t: t.rename(columns={"age": "AGE"}), "there is no column 'age'"),
        (lambda t: t.assign(age="old"), "row 1, column 'age': 'old' is not a number, as in training"),
    ],
)
def test_other_columns_and_values_are_refused(run, change, message):
    with pytest.raises(UserError, match=message):
        run.predictor().predict(change(people(seed=1)))


def test_evaluation_of_another_file_keeps_the_encoding(run, tmp_path):
    path = tmp_path / "other.csv"
    people(seed=1)[["kind", "city", "age"]].query("city != 'Bern'").to_csv(path, index=False)
    found = evaluate(run.path, "all", (f"data.path={path}",))
    right = pandas.read_csv(path)
    assert found["samples"] == len(right)
    assert found["accuracy"] == pytest.approx(run.predictor().score(right, right["kind"].to_numpy()))
    people(seed=1).replace({"kind": {"a": "z"}}).to_csv(path, index=False)
    with pytest.raises(UserError, match="the class 'z' does not occur in training; the classes are 'a', 'b'"):
        evaluate(run.path, "train", (f"data.path={path}",))


def test_the_command_prints_names_of_classes(run, tmp_path, capsys):
    path = tmp_path / "new.csv"
    fresh = people(20, seed=3)
    fresh.drop(columns="kind").to_csv(path, index=False)
    assert main(["predict", str(run.path), str(path)]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "prediction"
    assert sum(a == b for a, b in zip(lines, fresh["kind"], strict=True)) > 17
    out = tmp_path / "made.csv"
    assert main(["predict", str(run.path), str(path), "--out", str(out)]) == 0
    assert out.read_text().splitlines()[1:] == lines
    assert main(["predict", str(run.path), str(path), "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_command_reads_arrays_of_other_runs(tmp_path, capsys):
    run = ffcore.train("digits/ff", run_dir=tmp_path / "run", report=False, **{"trainer.max_epochs": 1})
    x = np.random.default_rng(0).integers(17, size=(5, 1, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x)
    capsys.readouterr()
    for file in ("x.npy", "x.npz"):
        assert main(["predict", str(run.path), str(tmp_path / file)]) == 0
        assert capsys.readouterr().out.splitlines()[1:] == [str(k) for k in run.predictor().predict(x)]
    frame = pandas.DataFrame(x.reshape(5, 64).astype(float))  # of a run on arrays it is an array
    assert np.array_equal(run.predictor().predict(frame), run.predictor().predict(x))


def codes(rows, **more):
    return pandas.DataFrame({"code": [["01", "7", "A"][i % 3] for i in range(rows)], "kind": "", **more})


def test_texts_that_look_like_numbers_stay_texts(tmp_path):
    table = codes(60).assign(kind=lambda t: t["code"].map({"01": "a", "7": "b", "A": "c"}))
    table.to_csv(tmp_path / "codes.csv", index=False)
    run = ffcore.train(
        "tables/breast-cancer-ff",
        run_dir=tmp_path / "run",
        data={"kind": "table", "path": str(tmp_path / "codes.csv"), "target": "kind"},
        algorithm={"kind": "local-errors"},
        network=[{"kind": "dense", "units": 16}],
        block={"goodness": "linear-head", "objective": "cross-entropy"},
        contribution="last",
        optimizer={"kind": "adam", "lr": 0.05},
        report=False,
    )
    alone = pandas.DataFrame({"code": ["01", "7"]})
    alone.to_csv(tmp_path / "new.csv", index=False)
    made = predictions(run.path, tmp_path / "new.csv")
    assert [made.classes[k] for k in made.values] == ["a", "b"]
    assert run.predictor().predict(alone).tolist() == made.values.tolist()
    with pytest.raises(UserError, match="the column 'code' occurs twice"):
        run.predictor().predict(pandas.concat([alone, alone], axis=1))


def test_a_text_that_only_the_test_split_has_does_not_stop_the_evaluation(tmp_path):
    table = people(100)
    rows = PythonData(lambda: (np.arange(100)[:, None], table["kind"].to_numpy())).load().test.x[:, 0]
    table.loc[int(rows[0]), "city"] = "Zug"
    table.to_csv(tmp_path / "people.csv", index=False)
    data = {"kind": "table", "path": str(tmp_path / "people.csv"), "target": "kind"}
    options = {"algorithm": {"labels": "prefix"}, "trainer": {"max_epochs": 1, "threads": 1}}
    run = ffcore.train(
        "tables/breast-cancer-ff", run_dir=tmp_path / "run", data=data, report=False, **options
    )
    with pytest.warns(
        UserWarning, match="'Zug' does not occur in training; .* the inputs of this column are 0"
    ):
        measured = evaluate(run.path)
    assert measured["accuracy"] == run.results["test"]["accuracy"]


def test_a_file_that_cannot_be_written_is_found_before_predicting(run, tmp_path, capsys):
    for out, message in (("none/x.csv", "does not exist"), ("x.txt", "should end in .csv or .npy")):
        assert main(["predict", str(run.path), "missing.csv", "--out", str(tmp_path / out)]) == 2
        assert message in capsys.readouterr().err
