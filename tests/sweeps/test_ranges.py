"""The ranges of a search: what is read, what is refused, and what is tried before it begins."""

import pytest

import ffcore
from ffcore.errors import UserError
from ffcore.sweeps import ranges, search
from ffcore.sweeps.ranges import Range, parse_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log:1e-4:1e-1", Range("x", "log", 1e-4, 1e-1)),
        ("linear:-1:0.5", Range("x", "linear", -1, 0.5)),
        ("int: 1 : 8", Range("x", "int", 1, 8)),
        ("choice:1, {kind: a, b: c}", Range("x", "choice", choices=("1", "{kind: a, b: c}"))),
    ],
)
def test_ranges_are_read_and_written(text, expected):
    assert parse_range("x", text) == expected
    assert parse_range("x", str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log:0:1", "log:0:1.*above 0"),
        ("log:-1:1", "above 0"),
        ("linear:2:1", "lower end should be below"),
        ("int:3:3", "lower end should be below"),
        ("log:a:1", "'a' should be a number"),
        ("int:1.5:3", "'1.5' should be a whole number"),
        ("linear:0:inf", "'inf' should be finite"),
        ("log:1", "a lower and an upper end, as in log:1e-4:1e-1"),
        ("linear:1:2:3", "a lower and an upper end"),
        ("lag:1:2", "not a range; write .* did you mean 'log'"),
        ("gauss:1:2", r"not a range; write .*choice:a,b$"),
        ("choice:a", "two values or more"),
        ("choice:a,a", "a is given twice"),
        ("choice:a,", "one of its values is empty"),
    ],
)
def test_a_range_that_is_none_is_refused_with_its_place(text, expected):
    with pytest.raises(UserError, match=rf"^x: .*{expected}|^x: {expected}"):
        parse_range("x", text)


def test_both_ends_and_a_value_between_are_tried():
    low, between, high = parse_range("x", "linear:10:80").tried()
    assert (low, high) == ("10.0", "80.0")
    assert float(between) % 1  # a whole number would hide that fractions are not allowed
    assert parse_range("x", "int:1:8").tried() == ("1", "8")
    assert 1e-3 < float(parse_range("x", "log:1e-4:1e-1").tried()[1]) < 1e-1


def test_a_search_takes_ranges_and_lists_and_leaves_the_other_overrides():
    found, rest = search.plan(
        "digits/ff", ["optimizer.lr=log:1e-4:1e-1", "seed=3", "data.batch_size=10,20", "title=a:b:c"]
    )
    assert {path: str(one) for path, one in found.items()} == {
        "optimizer.lr": "log:0.0001:0.1",
        "data.batch_size": "choice:10,20",
    }
    assert rest == ("seed=3", "title=a:b:c")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer.lr=log:1:2", "optimizer.lr=3"], "optimizer.lr: is searched, and is set by a second"),
        (["optimizer.lr=1,2", "optimizer.lr=int:1:2"], "optimizer.lr: is searched, and is set by a second"),
        (["seed=int:1:9"], "seed: a search does not choose the seed; give --seeds"),
        (["optimizer.lr=gauss:1:2"], "optimizer.lr: 'gauss:1:2' is not a range"),
    ],
)
def test_a_path_is_set_once_and_every_word_is_known(overrides, expected):
    with pytest.raises(UserError, match=expected):
        search.plan("digits/ff", overrides)


def test_every_value_is_tried_without_all_combinations():
    found, _ = search.plan("digits/ff", ["optimizer=adam,sgd,rmsprop", "data.batch_size=int:10:20"])
    points = [run.point for run in search.tried(found, (), ())]
    assert len(points) == 5
    for value in ("optimizer=adam", "optimizer=rmsprop", "data.batch_size=10", "data.batch_size=20"):
        assert any(value in point for point in points)
    assert ("optimizer=rmsprop", "data.batch_size=20") in points


def test_ranges_from_python_are_text_and_lists():
    assert ranges.from_python({"a.b": "log:1:2", "c": [1e-3, 2], "d": ("adam", "1", "x y")}) == [
        "a.b=log:1:2",
        "c=0.001,2",
        'd=adam,"1","x y"',
    ]
    for wrong in (3, "adam", [], None):
        with pytest.raises(UserError, match=r"search: a: .*or a list of values"):
            ranges.from_python({"a": wrong})
    with pytest.raises(UserError, match=r"network: .*package\.module:Class"):
        ranges.as_override("network", object())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "^optimizer.lr: nan should be finite$"),
        ([1.0, float("inf")], r"^optimizer.lr: \[1.0, inf\] should be finite$"),
        (object, "^optimizer.lr: <class 'object'>: each run of a sweep is a process"),
    ],
)
def test_a_value_that_no_process_can_be_given_is_refused_with_its_path(tmp_path, value, expected):
    folder = tmp_path / "sweep"
    with pytest.raises(UserError, match=expected):
        ffcore.sweep("digits/ff", {"optimizer.lr": [1e-3, value]}, run_dir=folder)
    with pytest.raises(UserError, match=expected):
        ffcore.sweep("digits/ff", seeds=[1, 2], run_dir=folder, **{"optimizer.lr": value})
    assert not folder.exists()


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (3, r"^seeds: should be a list of whole numbers, such as \[1, 2, 3\], not 3$"),
        (None, "^seeds: should be a list of whole numbers.*, not None$"),
        ({1, 2}, r"^seeds: should be a list of whole numbers.*, not \{1, 2\}$"),
        ("12", "^seeds: '1' should be a whole number, 0 or more$"),
        ([1, 2.0], "^seeds: 2.0 should be a whole number, 0 or more$"),
    ],
)
def test_seeds_of_a_sweep_are_a_list_of_whole_numbers(tmp_path, seeds, expected):
    with pytest.raises(UserError, match=expected):
        ffcore.sweep("digits/ff", {"optimizer.lr": [1e-3, 3e-3]}, seeds=seeds, run_dir=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
