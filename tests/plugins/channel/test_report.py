import json
import math

import numpy as np
import pytest

from ffcore.report import RunRecord
from ffcore_channel.report import channels, entropy_of, layer_weights

BLOCKS = ["conv1", "conv2"]


@pytest.fixture
def write(tmp_path):
    """A run's folder with assignments, weights and an entropy penalty over three epochs."""

    def run(form="released", weight=None, arrays=None, network=()):
        path = tmp_path / "run"
        path.mkdir()
        results = {
            "blocks": [{"name": name} for name in BLOCKS],
            "sources": [{"name": name, "kind": "block"} for name in BLOCKS],
            "contribution": "loss-weighted",
        }
        (path / "results.json").write_text(json.dumps(results))
        penalty = {"kind": "assignment-entropy", "form": form, "weight": weight}
        config = {"block": {"penalties": {"sharp": penalty}}, "network": list(network)}
        (path / "config.yaml").write_text(json.dumps(config))
        (path / "metrics.csv").write_text("epoch,conv1/sharp\n1,0.08\n2,0.04\n3,0.02\n")
        rng = np.random.default_rng(0)
        made = {
            f"assignment/{name}": rng.dirichlet(np.ones(4), 12 * (i + 1)) for i, name in enumerate(BLOCKS)
        }
        np.savez(path / "arrays.npz", **{**made, "contribution/weights": [0.3, 0.7], **(arrays or {})})
        return RunRecord.read(path)

    return run


def test_assignments_and_their_entropies_are_shown(write):
    section = channels(write())
    assert [picture.name for picture in section.pictures] == ["channel-classes", "channel-entropy"]
    maps = section.pictures[0].figure.axes
    assert [ax.get_title() for ax in maps] == BLOCKS
    drawn = maps[0].images[0].get_array()
    assert drawn.shape == (4, 12)
    assert (np.diff(drawn.argmax(0)) >= 0).all()  # ordered by the class that channels work for


@pytest.mark.parametrize(
    ("form", "weight", "scale"),
    [
        ("released", None, 4 / (0.01 * 12 * math.log(4))),
        ("released", 0.5, 4 / (0.5 * 12 * math.log(4))),
        ("scale-free", None, 10),
    ],
)
def test_entropy_over_epochs_is_the_penalty_without_its_weight(write, form, weight, scale):
    figure = channels(write(form, weight)).pictures[1].figure
    (line,) = figure.axes[0].lines
    assert line.get_ydata() == pytest.approx([0.08 * scale, 0.04 * scale, 0.02 * scale])


@pytest.mark.parametrize("inside", [False, True])
def test_entropy_is_not_plotted_if_items_have_different_weights(write, inside):
    penalty = {"kind": "assignment-entropy", "form": "released", "weight": 0.5}
    item = {"kind": "conv", "block": {"penalties": {"sharp": penalty}}}
    run = write(network=[{"kind": "residual", "items": [item]}] if inside else [item])
    assert [picture.name for picture in channels(run).pictures] == ["channel-classes"]


def test_entropy_is_a_share_of_the_largest():
    assert entropy_of(np.full((3, 5), 0.2)) == pytest.approx(1)
    assert entropy_of(np.eye(5)) == 0


def test_layer_weights_are_bars(write):
    section = layer_weights(write())
    (ax,) = section.pictures[0].figure.axes
    assert [bar.get_width() for bar in ax.patches] == [0.3, 0.7]
    assert [label.get_text() for label in ax.get_yticklabels()] == BLOCKS


def test_a_run_without_such_arrays_has_no_such_sections(write):
    empty = {f"assignment/{name}": np.zeros(0) for name in BLOCKS} | {"contribution/weights": np.zeros(0)}
    run = write(arrays=empty)
    assert channels(run) is None
    assert layer_weights(run) is None
