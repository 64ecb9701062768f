"""Building a recipe: parts that fit, parts that do not, and the path in messages."""

import pytest
import torch

from ffcore.build.assemble import assemble, assembled_for
from ffcore.build.components import make
from ffcore.build.form import Form
from ffcore.errors import UserError
from ffcore.interfaces import Augmentation, Statistics
from ffcore.recipe import load
from ffcore.recipe.schema import Recipe
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from tests.chosen import of_each_name, thorough_but

SHAPE, K = (1, 4, 4), 3
RECIPE = {
    "name": "test",
    "data": "digits",
    "algorithm": "forward-forward",
    "network": [{"kind": "dense", "units": 6, "repeat": 2}],
    "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
}
DENSE = {"kind": "dense", "units": 6}
OVERLAPS = {"kind": "blackbox", "box": "sign", "overlap": True}


def build(shape=SHAPE, classes=K, statistics=None, **more):
    return assemble(Recipe.model_validate({**RECIPE, **more}), shape, classes, statistics=statistics)


def test_blocks_are_numbered_by_kind_and_set_up_in_order():
    net = build(network=[DENSE, {"kind": "dense", "units": 4, "name": "last"}]).network
    assert [(b.name, b.info.depth, b.info.shape) for b in net.blocks] == [
        ("dense1", 0, (6,)),
        ("last", 1, (4,)),
    ]


def test_a_block_has_the_recipes_parts_unless_overridden():
    own = {**DENSE, "block": {"goodness": "mean-squares", "handoff": None, "per_view": True}}
    first, second = build(network=[DENSE, own]).network.blocks
    assert [type(b.goodness).__name__ for b in (first, second)] == ["SumSquares", "MeanSquares"]
    assert [type(b.handoff).__name__ for b in (first, second)] == ["RMS", "Identity"]
    assert [type(b.loss.objective).__name__ for b in (first, second)] == ["Logistic", "Logistic"]
    assert [b.per_view for b in (first, second)] == [False, True]


def test_a_concat_shortcut_widens_the_next_input():
    residual = {"kind": "residual", "merge": "concat", "items": [DENSE]}
    net = build(network=[DENSE, residual, DENSE]).network
    assert [b.body.linear.in_features for b in net.blocks] == [16, 6, 12]


def test_a_block_may_have_an_optimiser_of_its_own():
    own = {**DENSE, "block": {"optimizer": {"kind": "sgd", "lr": 0.5}}}
    module = build(
        network=[DENSE, own], readouts={"r": "softmax"}, readout_optimizer={"lr": 0.25, "kind": "adamw"}
    )
    optimizers = module.configure_optimizers().blocks
    assert {
        name: (type(b.optimizer).__name__, b.optimizer.param_groups[0]["lr"])
        for name, b in optimizers.items()
    } == {
        "dense1": ("Adam", 1e-3),
        "dense2": ("SGD", 0.5),
        "r": ("AdamW", 0.25),
    }


WRONG = {
    "a goodness of the wrong kind": (
        {"block": {"goodness": "sum-squares", "objective": "cross-entropy"}},
        r"^block\.objective: CrossEntropy reads .* 'class', but SumSquares gives form 'energy'",
    ),
    "an objective without a goodness": (
        {"block": {"objective": "logistic"}},
        r"^block\.goodness: objective Logistic needs a goodness",
    ),
    "the same in a block of its own": (
        {"network": [DENSE, {**DENSE, "block": {"goodness": None}}]},
        r"^network\.1\.block\.goodness: objective Logistic needs a goodness",
    ),
    "a penalty without an objective": (
        {"block": {"goodness": "sum-squares", "penalties": {"p": "peer-normalisation"}}},
        r"^block\.penalties: a block without an objective does not learn from them",
    ),
    "a shortcut around another width": (
        {"network": [DENSE, {"kind": "residual", "items": [{"kind": "dense", "units": 5}]}]},
        r"^network\.1: .*cannot add \(5,\) to its input \(6,\)",
    ),
    "a name that is taken": (
        {"network": [{**DENSE, "name": "x"}, {**DENSE, "name": "x"}]},
        r"^network\.1\.name: 'x' is taken",
    ),
    "a name that is taken inside a shortcut": (
        {"network": [{**DENSE, "name": "x"}, {"kind": "residual", "items": [{**DENSE, "name": "x"}]}]},
        r"'x' is taken",
    ),
    "a readout named like a block": ({"readouts": {"dense1": "softmax"}}, r"'dense1' is taken"),
    "hard negatives without a readout": (
        {"algorithm": {"kind": "forward-forward", "negatives": "hard"}},
        r"^algorithm: negatives .* the recipe has no readout",
    ),
    "a contribution of a readout that is not there": (
        {"contribution": "readout"},
        r"^contribution: there is no readout ''; .*add one under `readouts`",
    ),
    "a readout of a block that is not there": (
        {"readouts": {"r": {"kind": "softmax", "taps": ["dense3"]}}},
        r"there is no block 'dense3'; did you mean 'dense[12]'",
    ),
    "a schedule that needs more epochs": (
        {"schedule": {"kind": "greedy", "epochs": 20}},
        r"^schedule: greedy: 2 blocks need 40 epochs, but the run has 20: set trainer\.max_epochs",
    ),
    "logits of another width": (
        {"block": {"goodness": "logits", "objective": "cross-entropy"}},
        r"block dense1 has activity \(6,\) for 3 classes",
    ),
    "accumulated batches for a box that overlaps": (
        {"network": [DENSE, OVERLAPS, DENSE], "trainer": {"accumulate": 2}},
        r"^blackbox1, network\.1\.box: overlap: does not work with accumulated batches",
    ),
    "a window on both sides of a box that overlaps": (
        {"network": [DENSE, OVERLAPS, DENSE], "schedule": "one-window"},
        r"^blackbox1, network\.1\.box: overlap: blocks before and after the box learn together",
    ),
    "a window of several blocks for a rule that learns in one": (
        {"schedule": "windows", "block": {**RECIPE["block"], "rule": "directional"}},
        r"block dense2: rule Directional: learns in windows of one block, not of 2",
    ),
    "accumulated batches for a rule that cannot": (
        {
            "algorithm": "hebbian",
            "block": {"rule": "soft-hebb"},
            "readouts": {"r": "softmax"},
            "contribution": {"kind": "readout", "name": "r"},
            "trainer": {"accumulate": 2},
        },
        r"^accumulate: block dense1: rule SoftHebb learns from every batch by itself",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_parts_that_do_not_fit_are_refused_with_their_path(name):
    recipe, message = WRONG[name]
    with pytest.raises(UserError, match=message):
        build(**recipe)


def test_an_error_without_a_message_is_reported_by_its_type(monkeypatch):
    def forward(self, x):
        raise NotImplementedError

    monkeypatch.setattr("ffcore_std.bodies.Dense.forward", forward)
    with pytest.raises(UserError, match=r"^network\.0: .*: NotImplementedError"):
        build()


def test_labels_that_do_not_fit_are_refused_with_their_path():
    with pytest.raises(
        UserError, match=r"^algorithm: labels overlay: 17 classes do not fit into 16 input features"
    ):
        build(classes=17)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"network": [DENSE, {"kind": "residual", "merge": "concat", "items": [DENSE]}]},
        {"readouts": {"r": "softmax"}, "contribution": "sum"},
        {"network": [{**DENSE, "block": {"goodness": "mean-squares", "handoff": None}}]},
        {"block": {**RECIPE["block"], "penalties": {"p": "peer-normalisation"}}},
    ],
)
def test_every_recipe_has_a_twin_that_backpropagates(more):
    module = build(**{**more, "algorithm": "backprop"})
    *hidden, head = module.network.blocks
    assert head.name == "head"
    assert all(b.goodness is None and b.loss is None for b in hidden)
    assert module.schedule.windows(None, 3) == (range(3),)
    assert module.algorithm.scores(torch.zeros(2, *SHAPE), module.network).shape[1:] == (2, K)


@pytest.mark.parametrize(
    "name",
    thorough_but(of_each_name(), load.names()),
)
def test_packaged_recipes_build_and_have_a_twin_unless_they_have_a_circuit(name):
    def built(*overrides):
        recipe = load.load(name, overrides)
        dataset = make(recipe.data.dataset, "data")
        if recipe.data.dataset.kind in ("python", "text", "digit-maps"):  # made, or shipped
            return assembled_for(recipe, Form.of(dataset.load())).network
        return assemble(recipe, *(dataset.peek() or ((1, 8, 8), 10))).network

    network, twin = built(), ["algorithm=backprop", "contribution=last", "schedule=null"]
    if name == "graphs/digits-neighbours":  # its own twin has no head in the model
        twin += ["network.head=null", "network.at=[layers.*, last]"]
    if name == "digits/blackbox-align":  # without a schedule the blocks before the box learn until the end
        twin += ["network.1.fit=start"]
    if network.circuits:
        with pytest.raises(UserError, match="views of Backprop have no hypothesis, but a circuit"):
            built(*twin)
    else:
        assert built(*twin).blocks


def test_the_same_seed_gives_the_same_weights():
    first, again, other = (build(seed=s).network.state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith("weight")]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_the_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build().network.state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    again = build().network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


class Noted(Augmentation):
    """Stores its context."""

    place = None

    def setup(self, context):
        self.place = context

    def forward(self, x, rng):
        return x


class Watching(ForwardForward):
    """Stores its context."""

    def setup(self, context):
        super().setup(context)
        self.place = context
        return context.shape


def test_statistics_reach_the_algorithm_and_the_augmentations():
    statistics = Statistics((5, 6, 7), -1.0, 2.0, (0.5,), (0.25,))
    algorithm = Watching(Overlay(), WrongLabel())
    data = {"kind": "digits", "augment": [Noted()], "groups": [0, 0, 1]}
    more = {"algorithm": algorithm, "data": data, "readouts": {"soft": "softmax"}}
    module = build(**more, statistics=statistics)
    (augmentation,) = module.augmentations
    context = augmentation.place
    assert context is module.algorithm.place
    assert (context.shape, context.classes, context.readouts) == (SHAPE, K, ("soft",))
    assert (context.statistics, context.superclass_of.tolist()) == (statistics, [0, 0, 1])


def test_without_data_there_are_no_statistics_and_augmentations_are_not_set_up():
    module = build(algorithm=Watching(Overlay(), WrongLabel()), data={"kind": "digits", "augment": [Noted()]})
    assert module.algorithm.place.statistics is None
    assert module.augmentations[0].place is None


def test_an_augmentation_that_does_not_fit_is_refused_with_its_path():
    statistics = Statistics((5, 6, 7), 0.0, 1.0, (0.0,), (1.0,))
    with pytest.raises(UserError, match=r"^data.augment.1: expected images of 1 or 3 channels"):
        build(shape=(2, 4, 4), statistics=statistics, data={"kind": "digits", "augment": ["shift", "grey"]})
