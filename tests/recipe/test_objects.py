"""Python objects in a recipe: validation, records, and replacement of records."""

import collections
import functools
import math
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ffcore.interfaces import Component
from ffcore.plugin import manager
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, load
from ffcore.recipe.objects import copied, is_object, record, short, target_of
from ffcore.recipe.schema import Recipe
from ffcore.recipe.tree import Tree, merge
from ffcore_ff.goodness import SumSquares
from ffcore_ff.objectives import Logistic


@pytest.fixture(autouse=True)
def installed():
    manager.use(None)


def recipe(**parts):
    least = {
        "name": "x",
        "data": {"kind": "digits"},
        "algorithm": "forward-forward",
        "network": [{"kind": "dense", "units": 3}],
        "block": {"goodness": "sum-squares", "objective": "logistic"},
    }
    return Recipe.model_validate({**least, **parts})


@pytest.mark.parametrize("value", [None, 1, 1.5, "adam", [nn.ReLU()], {"kind": "x"}, recipe, type(recipe)])
def test_data_are_not_objects_and_callables_are(value):
    assert is_object(value) == callable(value)


@pytest.mark.parametrize(
    ("value", "target"),
    [
        (torch.optim.SGD, "torch.optim:SGD"),
        (torch.tanh, "torch:tanh"),
        (math.sin, "math:sin"),
        (collections.OrderedDict.fromkeys, None),
        (nn.ReLU(), None),
        (lambda x: x, None),
        (functools.partial(math.sin, 1), None),
    ],
)
def test_importable_objects_have_a_target(value, target):
    assert target_of(value) == target


def test_an_object_of_a_module_without_a_file_has_no_target():
    module = type(sys)("only_here")
    exec("def f(x): return x", vars(module))
    sys.modules["only_here"] = module
    try:
        assert target_of(module.f) is None
    finally:
        del sys.modules["only_here"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda x: x, "function <lambda>"),
        (
            nn.Sequential(nn.ReLU(), nn.Flatten()),
            "Sequential((0): ReLU() (1): Flatten(start_dim=1, end_dim=-1))",
        ),
        (functools.partial(torch.optim.SGD, lr=0.1), "partial(SGD, lr=0.1)"),
        (object(), "<object object>"),
    ],
)
def test_a_description_is_one_line_without_addresses(value, text):
    assert short(value) == text
    assert len(short(nn.Sequential(*[nn.Linear(3, 4)] * 50))) == 120


def test_objects_pass_through_trees_without_copies():
    one = nn.ReLU()
    assert copied({"a": [one]}) == {"a": [one]}
    both = merge(Tree({"a": {"b": one}}, {}), Tree({"a": {"c": [one]}}, {}))
    assert both.data == {"a": {"b": one, "c": [one]}}


def test_an_object_is_validated_recorded_and_read_as_a_record():
    block = {"goodness": SumSquares(), "objective": {"kind": Logistic(2.0)}, "handoff": nn.Identity()}
    made = recipe(block=block, network=[nn.Linear(64, 3), {"kind": nn.Linear(3, 3), "repeat": 2}])
    assert made.block.goodness.object is block["goodness"]
    assert made.network[1].repeat == 2
    recorded = made.model_dump(mode="json")
    assert recorded["block"]["goodness"] == {"kind": "object", "is": "SumSquares()"}
    assert recorded["network"][1]["is"] == "Linear(in_features=3, out_features=3, bias=True)"
    assert Recipe.model_validate(recorded).model_dump(mode="json") == recorded


def test_all_network_items_are_loaded_from_their_records():
    from ffcore_ff.recurrent import Recurrent
    from ffcore_resnet.networks import ResNet17

    residual = {"kind": "residual", "items": [nn.Linear(3, 3)]}
    items = [Recurrent((1, 8, 8), [3]), ResNet17(), residual, lambda x: x, torch.sign, nn.Linear(3, 3)]
    made = recipe(network=items)
    recorded = made.model_dump(mode="json")
    again = Recipe.model_validate(recorded)
    assert [type(item) for item in again.network] == [type(item) for item in made.network]
    assert again.model_dump(mode="json") == recorded
    assert recorded["network"][4]["box"] == {"kind": "torch:sign"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.optim.SGD, {"kind": "torch.optim:SGD"}),
        ("torch.optim:SGD", {"kind": "torch.optim:SGD"}),
        (functools.partial(torch.optim.SGD, lr=0.1), {"kind": "torch.optim:SGD", "lr": 0.1}),
        ({"kind": torch.optim.SGD, "lr": 0.1}, {"kind": "torch.optim:SGD", "lr": 0.1}),
        (lambda p: torch.optim.SGD(p, 0.1), {"kind": "object", "is": "function <lambda>"}),
    ],
    ids=["a class", "its target", "a partial", "with options", "a lambda"],
)
def test_an_optimiser_is_recorded_by_its_target_if_it_has_one(given, expected):
    made = recipe(optimizer=given, readout_optimizer=given, block={"optimizer": given})
    dump = made.model_dump(mode="json")
    for part in (dump["optimizer"], dump["readout_optimizer"], dump["block"]["optimizer"]):
        assert expected.items() <= part.items()
    again = Recipe.model_validate(dump).model_dump(mode="json")["optimizer"]
    assert expected.items() <= again.items()


def test_a_function_of_a_black_box_is_recorded_as_its_target():
    box = {"kind": "function", "target": torch.sign}
    recorded = recipe(network=[{"kind": "blackbox", "box": box}]).network[0].model_dump(mode="json")
    assert recorded["box"]["target"] == "torch:sign"
    assert record(lambda x: x)["is"] == "function <lambda>"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            {"block": {"objective": SumSquares()}},
            "a SumSquares is not an objective (should be an ffcore.interfaces.Objective, a kind, or a "
            "mapping with the key 'kind')",
        ),
        ({"block": {"goodness": SumSquares}}, "SumSquares is a class; give an instance: SumSquares()"),
        ({"network": [nn.Linear]}, "Linear is a class; give an instance: Linear(…)"),
        ({"network": [object()]}, "an object is not a body (should be a torch.nn.Module, a kind"),
        ({"schedule": lambda: 1}, "a function is not a schedule (should be an ffcore.interfaces.Schedule"),
        ({"network": [{"kind": "blackbox", "box": SumSquares}]}, "SumSquares is a class; give an instance"),
        (
            {"block": {"goodness": {"kind": SumSquares(), "p": 2}}},
            "unknown key 'p'; an object has its options",
        ),
        (
            {"optimizer": nn.Linear},
            "Linear is not a torch.optim.Optimizer; give an optimiser class, or a func",
        ),
        ({"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())}, "SGD cannot be called; give an optim"),
        ({"lr_schedule": nn.ReLU}, "ReLU is not a torch.optim.lr_scheduler.LRScheduler; give a function"),
        ({"optimizer": "adm"}, "'adm' is not an optimizer; did you mean 'adam'"),
        ({"optimizer": {"lr": 1}}, "should say which optimizer; known: adadelta"),
    ],
)
def test_objects_that_do_not_fit_give_one_line(parts, expected):
    with pytest.raises(ValidationError) as caught:
        recipe(**parts)
    line = str(RecipeError.from_validation(caught.value, Tree(parts, {(): "x"})))
    assert expected in line
    assert "\n" not in line


def test_errors_of_python_values_begin_with_their_path():
    for parts in ({"block": {"objective": SumSquares()}}, {"block.objective": SumSquares()}):
        with pytest.raises(RecipeError, match=r"^block\.objective: a SumSquares is not an objective"):
            load("digits/ff", parts)
    with pytest.raises(RecipeError, match=r"^network is a list of 1; '4' is not an index"):
        load("digits/ff", {"network.4": nn.ReLU()})


def test_values_from_python_are_set_in_the_tree(tmp_path):
    made = load("digits/ff", {"network.0": nn.ReLU(), "network.0.repeat": 2, "seed": torch.tensor(3)})
    assert isinstance(made.network[0].body.object, nn.ReLU)
    assert (made.network[0].repeat, made.seed) == (2, 3)
    made = load("digits/ff", {"optimizer": {"kind": "sgd"}, "start": {"run": tmp_path}})
    assert (made.optimizer.kind, made.optimizer.options.lr, made.start.run) == ("sgd", 1e-3, str(tmp_path))


@pytest.fixture
def written(tmp_path):
    """A recipe with objects, as a run writes it."""
    network = [{"kind": nn.Linear(64, 3), "repeat": 2}, lambda x: x, {"kind": "dense", "units": 3}]
    path = tmp_path / "config.yaml"
    path.write_text(dump(load("digits/ff", {"network": network, "block.goodness": SumSquares()})))
    return str(path)


def test_a_record_is_not_an_object(written):
    with pytest.raises(RecipeError) as caught:
        load(written)
    line = str(caught.value)
    assert "\n" not in line
    assert "network.0: Linear(in_features=64, out_features=3, bias=True) was given from Python" in line
    assert "'network.0': …, 'network.1.box': …, 'block.goodness': …" in line


@pytest.mark.parametrize(
    "again",
    [
        {"network.0": nn.Linear(64, 3), "network.1": torch.sign, "block.goodness": SumSquares()},
        {
            "network.0.kind": nn.Linear(64, 3),
            "network.1.box": torch.sign,
            "block": {"goodness": SumSquares()},
        },
        {
            "network": [nn.Linear(64, 3), torch.sign, {"kind": "dense", "units": 3}],
            "block": {"goodness": SumSquares()},
        },
    ],
)
def test_objects_replace_their_records(written, again):
    made = load(written, objects=again)
    assert isinstance(made.network[0].body.object, nn.Linear)
    assert made.network[0].repeat == 2
    assert made.network[1].box.object is torch.sign


@pytest.mark.parametrize(
    "more", [{"seed": 2}, {"network.2": nn.ReLU()}, {"network.2.units": 4}, {"block.objective": Logistic()}]
)
def test_objects_at_other_paths_raise(written, more):
    missing = {"network.0": nn.Linear(64, 3), "network.1": torch.sign, "block.goodness": SumSquares()}
    with pytest.raises(RecipeError, match=rf"^{next(iter(more))}: the recipe of a run cannot be changed"):
        load(written, objects={**missing, **more})


def test_records_are_the_same_in_every_process_and_differ_at_any_length():
    class Many(Component):
        def __init__(self, names=frozenset(), table=()):
            super().__init__()
            self.names, self.table = names, table

    assert (
        record(Many({"c", "a", "b"}, [{"e", "d"}]))["is"] == "Many(names={'a', 'b', 'c'}, table=[{'d', 'e'}])"
    )
    one, other = (record(Many(table=[*range(1000), last]))["is"] for last in (1, 2))
    assert one != other
    assert one.partition("…")[0] == other.partition("…")[0]
