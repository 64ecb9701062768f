"""Probes on the features of a finished run, on its own and on other data."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import ffcore
from ffcore.cli.main import main
from ffcore.errors import UserError
from ffcore.run import probe as probes
from ffcore.run.data import Data
from ffcore.run.probe import Features, linear, nearest, probe

N, F, K = 60, 7, 3


def features(n=N, seed=0, apart=1.5):
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % K
    x = torch.randn(n, F, generator=generator)
    x[torch.arange(n), y] += apart
    return Features(x, y)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small digits/ff after two epochs, without a report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ffcore.run.train.write_report", lambda *args: None)
        options = {"network.0.units": 60, "trainer.max_epochs": 2, "trainer.threads": 1}
        return ffcore.train("digits/ff", run_dir=tmp_path_factory.mktemp("probed") / "run", **options)


@pytest.fixture(scope="module")
def measured(finished):
    return probe(finished.path)


@pytest.fixture
def halves(tmp_path):
    """Digits upside down, in the two classes odd and even."""
    raw = load_digits()
    x, y = raw.images[:, None, ::-1].astype("uint8"), (raw.target % 2).astype("int64")
    path = tmp_path / "halves.npz"
    np.savez(path, x_train=x[:1200], y_train=y[:1200], x_test=x[1200:], y_test=y[1200:])
    return path


def test_every_block_is_probed_on_activity_and_handoff(measured, finished):
    assert list(measured["blocks"]) == ["dense1", "dense2", "dense3"]
    assert (measured["samples"], measured["fitted_on"], measured["neighbours"]) == (360, 1293, 5)
    assert measured["input"]["features"] == 64
    for parts in measured["blocks"].values():
        assert list(parts) == ["handoff", "activity"]
        for metrics in parts.values():
            assert metrics["features"] == 60
            assert min(metrics["linear"], metrics["neighbours"]) > 0.9
            assert metrics["l2"] in probes.STRENGTHS
    # cosines do not depend on the length, and the handoff of Forward-Forward only removes the length
    first = measured["blocks"]["dense1"]
    assert first["handoff"]["neighbours"] == first["activity"]["neighbours"]


def test_the_vote_on_the_input_is_that_of_scikit_learn(measured, finished):
    predictor = ffcore.load(finished.path)
    data = Data.open(predictor.recipe)

    def flat(split):
        batches = data.loader(split, torch.device("cpu"), None)
        return torch.cat([predictor.module.algorithm.neutral(b.x).x.dense().flatten(1) for b in batches])

    vote = KNeighborsClassifier(5, metric="cosine").fit(flat(data.train), data.train.y)
    right = vote.score(flat(data.images.test), data.images.test.y)
    assert measured["input"]["neighbours"] == pytest.approx(right, abs=0.004)  # a tie or so


def test_it_is_repeatable_and_does_not_change_the_run(finished, measured):
    def files():
        return {p: p.stat().st_mtime_ns for p in finished.path.rglob("*")}

    before = files()
    assert probe(finished.path) == measured
    assert files() == before


def test_samples_are_chosen_by_the_seed_of_the_run(finished):
    few, again = (probe(finished.path, samples=100, neighbours=1) for _ in range(2))
    assert few == again
    assert (few["fitted_on"], few["neighbours"]) == (100, 1)


def test_the_measured_split_does_not_choose_the_penalty():
    learn, choice = features(seed=1), features(seed=2)
    one, other = features(seed=3), features(seed=4, apart=-3.0)
    assert linear(learn, choice, one)[1] == linear(learn, choice, other)[1]


def test_the_penalty_is_the_best_on_the_choice_and_the_strongest_of_equals():
    learn, choice, measured = features(seed=1), features(seed=2), features(seed=3)
    accuracy, l2 = linear(learn, choice, measured)
    mean, std = learn.x.mean(0), learn.x.std(0, correction=0)

    def score(strength, on):
        model = LogisticRegression(C=1 / (strength * N), max_iter=1000).fit((learn.x - mean) / std, learn.y)
        return model.score((on.x - mean) / std, on.y)

    chosen = max(probes.STRENGTHS, key=lambda strength: score(strength, choice))
    assert l2 == chosen
    assert accuracy == pytest.approx(score(chosen, measured), abs=0.02)


def test_a_constant_feature_does_not_matter():
    learn, choice, measured = (features(seed=s) for s in (1, 2, 3))
    with_dead = [Features(torch.cat([f.x, torch.ones(N, 2)], 1), f.y) for f in (learn, choice, measured)]
    assert linear(*with_dead) == linear(learn, choice, measured)


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_do_not_depend_on_the_chunk_size(k, monkeypatch):
    learn, asked = features(), features(seed=1)
    hits = 0
    for x, y in zip(asked.x, asked.y, strict=True):
        cosines = torch.cosine_similarity(x[None], learn.x)
        voters = [(int(learn.y[i]), float(cosines[i])) for i in cosines.argsort(descending=True)[:k]]
        votes = [[cosine for voted, cosine in voters if voted == c] for c in range(K)]
        hits += max(range(K), key=lambda c, votes=votes: (len(votes[c]), sum(votes[c]))) == y
    assert nearest(learn, asked, k) == hits / N
    monkeypatch.setattr(probes, "_QUERIES_AT_ONCE", 7)
    assert nearest(learn, asked, k) == hits / N


def test_a_sample_does_not_vote_for_itself(monkeypatch):
    noise = Features(torch.randn(N, F, generator=torch.Generator().manual_seed(0)), torch.arange(N) % K)
    assert nearest(noise, noise, 1) == 1
    alone = nearest(noise, noise, 1, leave_out=True)
    assert alone < 0.7
    monkeypatch.setattr(probes, "_QUERIES_AT_ONCE", 7)
    assert nearest(noise, noise, 1, leave_out=True) == alone


def test_votes_count_before_cosines_and_cosines_break_ties():
    learn = Features(torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.2]]), torch.tensor([0, 1, 1]))
    asked = Features(torch.tensor([[1.0, 0.1]]), torch.tensor([0]))
    assert nearest(learn, asked, 2) == 1
    assert nearest(learn, asked, 3) == 0


def test_large_maps_are_averaged_to_a_bound():
    made = torch.arange(2 * 16 * 32 * 32.0).view(2, 16, 32, 32)
    flat = probes._flat(made)
    assert flat.shape == (2, 16 * 22 * 22)
    assert torch.allclose(flat.mean(1), made.flatten(1).mean(1), rtol=1e-3)
    assert probes._flat(made[:, :8]).shape == (2, 8 * 32 * 32)


def test_blocks_with_another_handoff_and_a_head_are_probed(quick):
    network = [{"kind": "dense", "units": 30}, {"kind": "dense", "units": 20}]
    run = quick("digits/backprop", network=network)
    blocks = probe(run.path, samples=300)["blocks"]
    assert [blocks[name]["handoff"]["features"] for name in blocks] == [30, 20, 10]
    assert all(parts["handoff"] == parts["activity"] for parts in blocks.values())


def test_without_a_validation_split_a_tenth_is_split_off(quick):
    run = quick(**{"data.validation": 0})
    metrics = probe(run.path)
    assert metrics["fitted_on"] == 1437 - 144
    with pytest.raises(UserError, match="no validation split"):
        probe(run.path, "val")


def test_features_are_probed_on_another_set_with_other_classes(finished, halves):
    metrics = probe(finished.path, "test", ("data.kind=arrays", f"data.path={halves}"))
    assert metrics["data"] != "digits"
    assert metrics["samples"] == 597
    assert metrics["blocks"]["dense1"]["handoff"]["linear"] > 0.8
    other = ("data.kind=arrays", f"data.path={halves}", "data.validation=0.5")
    assert probe(finished.path, "test", other)["fitted_on"] == 600


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("seed=2",), "only the data may change"),
        (("data.standardise=true",), "batch size and standardisation belong to the run"),
        (("data.validation=0.5",), "with data.kind=… for another"),
        (
            ("data.kind=arrays", "data.path={narrow}"),
            r"samples of \(3,\); the run was trained on \(1, 8, 8\)",
        ),
    ],
)
def test_invalid_overrides_raise(finished, tmp_path, overrides, expected):
    narrow = tmp_path / "narrow.npz"
    x, y = np.zeros((20, 3), dtype="float32"), np.arange(20) % 2
    np.savez(narrow, x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(UserError, match=expected):
        probe(finished.path, "test", tuple(o.format(narrow=narrow) for o in overrides))


def test_more_neighbours_than_samples_raise(finished):
    with pytest.raises(UserError, match=r"^--samples 3: too few"):
        probe(finished.path, samples=3, neighbours=5)


def test_the_command_prints_a_table_or_json(finished, measured, capsys):
    run = str(finished.path)
    assert main(["eval", run, "--probe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == measured
    assert main(["eval", run, "--probe", "--samples", "200", "--neighbours", "3"]) == 0
    out = capsys.readouterr().out
    assert "fitted on 200 samples of digits" in out
    assert "3 nearest neighbours" in out
    assert [line.split()[:3] for line in out.splitlines() if "handoff" in line] == [
        [name, "handoff", "60"] for name in ("dense1", "dense2", "dense3")
    ]


def test_options_of_the_probe_need_probe(finished, capsys):
    assert main(["eval", str(finished.path), "--samples", "200"]) == 2
    assert capsys.readouterr().err == "error: --samples needs --probe or --analysis\n"


def test_the_error_names_neighbours_if_they_do_not_fit(finished):
    with pytest.raises(UserError, match=r"^--neighbours 2000: only 1293 samples"):
        probe(finished.path, neighbours=2000)
    with pytest.raises(UserError, match=r"^--neighbours 50: only 49 samples"):
        probe(finished.path, "train", samples=50, neighbours=50)
