"""The kit catches components that break their contract."""

import pytest
import torch
from pydantic import ConfigDict
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import (
    Algorithm,
    BlackBox,
    Goodness,
    LabelCode,
    LayerContribution,
    LearningRule,
    NegativeData,
    Objective,
    Penalty,
    Readout,
    Schedule,
    Views,
)
from ffcore.plugin import Options, manager
from ffcore.plugin.registry import Entry
from ffcore.testing import cases, checks_of, run_check


@pytest.fixture(autouse=True)
def plugins():
    """A registry of this test's own."""
    plugins = manager.Plugins.load()
    manager.use(plugins)
    yield plugins
    manager.use(None)


@pytest.fixture
def register(plugins):
    def add(noun, target, config=None, summary="a component"):
        plugins.registry.add(Entry(noun, "mine", target, config, summary, "std"))

    return add


class SumSquares(Goodness):
    """Right in every way."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1)

    def vjp(self, activity, up):
        return 2 * activity * up.view(-1, *(1,) * (activity.dim() - 1))


class WrongFactor(SumSquares):
    """The closed form lacks a factor of 2."""

    def vjp(self, activity, up):
        return super().vjp(activity, up) / 2


class OfTheBatch(Goodness):
    """Rows are measured against the batch."""

    def forward(self, activity):
        g = activity.flatten(1).square().sum(1)
        return g - g.mean()


class OneNumber(Goodness):
    """One number for all rows."""

    def forward(self, activity):
        return activity.square().sum()


class VectorsOnly(Goodness):
    """Forgets the other dimensions of maps."""

    def forward(self, activity):
        return activity.square().sum(1)


class Deaf(Goodness):
    """Its gradient is lost."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1).detach() + 0 * activity.flatten(1).sum(1)


class Noisy(SumSquares):
    """Draws from the global random state."""

    def forward(self, activity):
        return super().forward(activity) + torch.rand(len(activity))


class Forgetful(SumSquares):
    """A drawn number that is in no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.rand(())

    def forward(self, activity):
        return self.factor * super().forward(activity)


class Summed(Objective):
    """A sum where a mean is due."""

    def forward(self, goodness, views):
        return goodness.square().sum()


class Overflowing(Objective):
    """exp without care."""

    def forward(self, goodness, views):
        return goodness.square().exp().mean()


class Strange(Objective):
    """Reads goodness of no kind."""

    accepts = "vector"

    def forward(self, goodness, views):
        return goodness.mean()


class Constant(Penalty):
    """A number without a gradient."""

    def forward(self, out, block, views):
        return torch.tensor(1.0)


class Leaking(NegativeData):
    """Any class, the true one too."""

    def prepare(self, shape, classes):
        self.classes = classes

    def forward(self, x, y, probs, draw):
        return x, draw.integers("label", self.classes)


class Neighbour(Leaking):
    """Always the next class."""

    def forward(self, x, y, probs, draw):
        return x, (y + 1) % self.classes


class OfThisRank(Leaking):
    """Depends on the place on this rank."""

    def forward(self, x, y, probs, draw):
        return x, (y + 1 + torch.arange(len(y)) % (self.classes - 1)) % self.classes


class OneHot(LabelCode):
    """The class over the first features."""

    def prepare(self, shape, classes):
        self.classes = classes
        return shape

    def code(self, y, n):
        if y is None:
            return torch.full((n, self.classes), 1 / self.classes)
        return nn.functional.one_hot(y, self.classes).float()

    def join(self, x, code):
        x = x.repeat(len(code) // len(x), *(1,) * (x.dim() - 1))
        x.view(len(x), -1)[:, : self.classes] = code
        return x


class Biased(OneHot):
    """Neutral is the first class."""

    def code(self, y, n):
        return super().code(torch.zeros(n, dtype=torch.long) if y is None else y, n)


class Blind(OneHot):
    """The label never gets into the input."""

    def join(self, x, code):
        return x.repeat(len(code) // len(x), *(1,) * (x.dim() - 1))


class InPlace(OneHot):
    """Writes into the samples."""

    def join(self, x, code):
        x.view(len(x), -1)[:, : self.classes] = code[: len(x)]
        return super().join(x, code)


class Dividing(nn.Module):
    """x/‖x‖ without care for zero."""

    def forward(self, x):
        return x / x.flatten(1).norm(dim=1).view(-1, *(1,) * (x.dim() - 1))


class Centred(nn.Module):
    """Takes off the batch's mean."""

    def forward(self, x):
        return x - x.mean(0)


class Shifting(nn.Module):
    """Changes what it is given."""

    def forward(self, x):
        return x.add_(1)


class Unlabelled(nn.Linear):
    """Claims to take a labelled input and loses its scale."""

    takes_labelled_input = True

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__(torch.Size(in_shape).numel(), 3)

    def forward(self, x):
        if not isinstance(x, torch.Tensor):
            x = type(x)(x.base, x.code).dense()
        return super().forward(x.flatten(1))


class Ranked(LayerContribution):
    """A sample's score depends on its place."""

    def combine(self, scores):
        return scores.sum(0) * torch.arange(scores.shape[1]).unsqueeze(1)


class Transposed(LayerContribution):
    """Sums over the wrong dimension."""

    def combine(self, scores):
        return scores.sum(2)


class Needy(LayerContribution):
    """Needs what nobody has."""

    needs = frozenset({"test.loss"})

    def combine(self, scores):
        return scores.sum(0)


class Twice(Schedule):
    """Blocks in two windows."""

    def windows(self, clock, blocks):
        return (range(blocks), range(blocks))


class Beyond(Schedule):
    """One block too many."""

    def windows(self, clock, blocks):
        return (range(blocks + 1),)


class First(Schedule):
    """Only ever the first block."""

    def windows(self, clock, blocks):
        return (range(1),) if blocks > 1 else ()


class Elsewhere(Readout):
    """Reads a block that does not exist."""

    def connect(self, blocks, shapes):
        return ("nowhere",)

    def forward(self, *activities):
        return activities[0]


class Idle(LearningRule):
    """Never learns."""

    def learn(self, window, views):
        return [{} for _ in window]


class Dragging(LearningRule):
    """Reports losses with their graph."""

    def learn(self, window, views):
        return [block.losses(out, views) for block, _, out in window]


class Dropping(BlackBox):
    """Loses a row."""

    def forward(self, x):
        return x[1:]


class OpenOnce(BlackBox):
    """Can be closed once."""

    def forward(self, x):
        return x

    def close(self):
        del self._file

    def fit(self, batches):
        self._file = 1


class Lazy(Algorithm):
    """Learns nothing, scores nothing."""

    def views(self, batch, net):
        return Views(batch.x, ("positive",), (len(batch.x),))

    def learn(self, batch, net):
        pass

    def scores(self, x, net):
        return torch.zeros(len(net.sources), len(x), net.classes)


class Rolling(Lazy):
    """Changes its batch, draws from the global random state, flattens scores."""

    def learn(self, batch, net):
        batch.x += torch.rand(())

    def scores(self, x, net):
        return torch.zeros(len(x), net.classes)


CAUGHT = [
    ("goodness", WrongFactor, "vjp equals autograd", "vjp is not autograd's"),
    ("goodness", OfTheBatch, "of a row depends on that row alone", "not close"),
    ("goodness", OneNumber, "one number a row", r"is \(\), not \(6,\)"),
    ("goodness", VectorsOnly, "one number a row", r"is \(6, 3, 3\), not \(6,\)"),
    ("goodness", Deaf, "lets a gradient through", "zero everywhere"),
    ("goodness", Noisy, "repeats itself in evaluation", "gives another output"),
    ("goodness", Forgetful, "state makes another one equal", "does not hold all"),
    ("objective", Summed, "is a mean over samples", "not close"),
    ("objective", Overflowing, "is a finite scalar", "the loss is inf"),
    ("objective", Strange, "accepts a kind of goodness", "accepts is 'vector'"),
    ("penalty", Constant, "is a scalar with a graph", "it would change nothing"),
    ("negative", Leaking, "never labels a sample with its own class", "is given its own"),
    ("negative", Neighbour, "reaches every wrong class", "never turns up"),
    ("negative", OfThisRank, "draws the same on one rank and two", "differ between one rank and two"),
    ("label", Biased, "neutral favours no class", "favours a class"),
    ("label", Blind, "join tells classes apart", "two labels give the same input"),
    ("label", InPlace, "join gives a row a code", "join changes its input"),
    ("handoff", Dividing, "of a silent row is finite", "infinite or NaN"),
    ("handoff", Centred, "keeps rows apart", "depends on the others"),
    ("handoff", Shifting, "leaves its input alone", "the activity has changed"),
    ("body", Centred, "keeps rows apart", "depends on the others"),
    ("body", Unlabelled, "takes a labelled input as its dense form", "is not its dense form"),
    ("contribution", Ranked, "does not mind the order of samples", "not close"),
    ("contribution", Transposed, "gives a score a class", r"scores are \(4, 6\), not \(6, 4\)"),
    ("contribution", Needy, "needs what the engine has", "needs test.loss"),
    ("schedule", Twice, "windows are ascending disjoint and in range", "not ascending and disjoint"),
    ("schedule", Beyond, "windows are ascending disjoint and in range", "of 1 blocks"),
    ("schedule", First, "lets every block learn", "some block never learns"),
    ("readout", Elsewhere, "connects to blocks that exist", "reads .*nowhere"),
    ("rule", Idle, "moves every block", "block1 has not learned"),
    ("rule", Dragging, "reports detached losses of every block", "drags its graph along"),
    ("blackbox", Dropping, "keeps rows", "6 rows become 5"),
    ("algorithm", Lazy, "learns an easy problem", "of four easy classes"),
    ("algorithm", Lazy, "changes every block that can learn", "none has changed"),
    ("algorithm", Rolling, "scores every source sample and class", "scores are"),
    ("algorithm", Rolling, "leaves the batch and the random state alone", "the batch has changed"),
]


@pytest.mark.parametrize(
    ("noun", "target", "check", "message"), CAUGHT, ids=[f"{c[0]} {c[1].__name__}: {c[2]}" for c in CAUGHT]
)
def test_a_broken_contract_is_caught(register, noun, target, check, message):
    register(noun, target)
    with pytest.raises(AssertionError, match=message):
        run_check(noun, "mine", check)


def test_closing_twice_is_tried(register):
    register("blackbox", OpenOnce)
    with pytest.raises(AttributeError):
        run_check("blackbox", "mine", "can be closed twice")


@pytest.mark.parametrize(("noun", "target"), [("goodness", SumSquares), ("label", OneHot)])
def test_a_right_component_passes_everything(register, noun, target):
    register(noun, target)
    found = [case for case in cases() if case.example.entry.name == "mine"]
    assert [case.check for case in found] == checks_of(noun)
    for case in found:
        case.run()


class Scaled(SumSquares):
    """Takes options.

    Args:
        scale: factor.
        labels: a nested component.
    """

    def __init__(self, scale: float = 1.0, *, sign: int = 1) -> None:
        super().__init__()


class Right(Options):
    scale: int = 1
    sign: int = 1


class MissesOne(Options):
    scale: float = 1.0


class OtherDefault(Options):
    scale: float = 2.0
    sign: int = 1


class OtherType(Options):
    scale: float | str = 1.0
    sign: int = 1


class Needs(Options):
    scale: float
    sign: int = 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MissesOne, r"config has options \['scale'\], the constructor \['scale', 'sign'\]"),
        (OtherDefault, r"scale: default 2\.0, in the constructor 1\.0"),
        (OtherType, "is not what the constructor takes"),
        (Needs, "scale: default PydanticUndefined, in the constructor 1.0"),
    ],
)
def test_a_config_that_disagrees_with_the_constructor_is_caught(register, config, message):
    register("goodness", Scaled, config)
    with pytest.raises(AssertionError, match=message):
        run_check("goodness", "mine", "config agrees with the constructor", {})


def test_a_config_may_be_narrower_than_the_constructor(register):
    register("goodness", Scaled, Right)
    run_check("goodness", "mine", "config agrees with the constructor")


def test_options_without_a_description_are_caught(register):
    register("goodness", Scaled)
    with pytest.raises(AssertionError, match=r"options without a description: sign$"):
        run_check("goodness", "mine", "options are described")


def test_another_nouns_class_is_caught(register):
    register("goodness", Summed)
    with pytest.raises(AssertionError, match="Summed does not inherit from Goodness"):
        run_check("goodness", "mine", "target can be imported")


def test_a_target_that_is_not_there_is_caught(register):
    register("goodness", "nowhere:Goodness", Right)
    with pytest.raises(UserError, match="cannot be loaded from 'nowhere:Goodness'"):
        run_check("goodness", "mine", "target can be imported")


def test_a_component_without_a_summary_is_caught(register):
    register("goodness", SumSquares, summary=" ")
    with pytest.raises(AssertionError, match="has no summary"):
        run_check("goodness", "mine", "says what it is")


class Named(SumSquares):
    """A required option that suggests no value.

    Args:
        path: any text.
    """

    def __init__(self, path: str) -> None:
        super().__init__()


class NamedOptions(Options):
    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "a"}, {"path": "b"}]})

    path: str


def test_a_required_option_without_an_example_is_asked_for(register):
    register("goodness", Named)
    found = [case for case in cases() if case.example.entry.name == "mine"]
    assert "vjp equals autograd" not in [case.check for case in found]
    with pytest.raises(UserError, match="needs an example of its option 'path'"):
        next(case for case in found if case.check == "options can be tried").run()


def test_examples_come_from_the_config_or_from_the_call(register):
    register("goodness", Named, NamedOptions)
    key = ("goodness", "mine")

    def tried(**kwargs):
        mine = [
            c for c in cases(**kwargs) if c.example.entry.name == "mine" and c.check == "one number a row"
        ]
        return [c.example.options["path"] for c in mine]

    assert tried() == ["a", "b"]
    assert tried(examples={key: [{"path": "c"}]}) == ["c"]


def test_a_waiver_skips_with_its_reason(register):
    register("goodness", OfTheBatch)
    key = ("goodness", "mine", "of a row depends on that row alone")
    (case,) = [c for c in cases(waive={key: "compares within the batch"}) if c.waived.startswith("compares")]
    with pytest.raises(pytest.skip.Exception, match="compares within the batch"):
        case.run()


@pytest.mark.parametrize(
    ("key", "reason", "message"),
    [
        (("goodness", "logits", "one number a row"), " ", "gives no reason"),
        (("goodness", "logits", "one number a rwo"), "slow", "there is no check 'one number a rwo'"),
        (("goodness", "nothing", "one number a row"), "slow", "of goodness 'nothing' to waive"),
    ],
)
def test_a_waiver_needs_a_reason_and_a_check(key, reason, message):
    with pytest.raises(UserError, match=message):
        cases(waive={key: reason})


def test_cases_of_one_plugin():
    assert {case.example.entry.plugin for case in cases(plugin="ff")} == {"ff"}
    with pytest.raises(UserError, match="no working plugin 'fff'; did you mean 'ff'"):
        cases(plugin="fff")


def test_an_unknown_check_names_the_closest():
    with pytest.raises(UserError, match="did you mean 'vjp equals autograd'"):
        run_check("goodness", "logits", "vjp equal autograd")
