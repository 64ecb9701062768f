"""Early exits by hand: three blocks, four samples, three classes."""

import math
from functools import partial

import pytest
import torch
from torch import nn

import ffcore
import ffcore.tasks
from ffcore.errors import UserError
from ffcore.interfaces import Goodness, LayerContribution
from ffcore.local.early import Early
from ffcore.local.exits import Measured, Operation, candidates, cheapest, leave, margin, thresholds
from ffcore.local.stepwise import Exit, Stepwise, exits_of
from ffcore_channel.algorithm import ChannelClass
from ffcore_std.contributions import Sum

EVIDENCE = torch.tensor(
    [
        [[5, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 2]],
        [[0, 0, 0], [0, 5, 0], [0, 0, 1], [0, 0, 2]],
        [[0, 0, 0], [0, 1, 0], [0, 0, 3], [9, 0, 0]],
    ],
    dtype=torch.float32,
)
Y = torch.tensor([0, 1, 2, 2])
# sums after each block: 5 1 0, 1 0 0, 0 1 0, 0 0 2; then 5 1 0, 1 5 0, 0 1 1, 0 0 4; then …, 0 1 4, 9 0 4
MARGINS = torch.tensor([[4, 1, 1, 2], [4, 4, 0, 4], [4, 5, 3, 5]], dtype=torch.float64)
RIGHT = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 0]], dtype=torch.bool)
SIGMA = [math.sqrt(2), 2.0]
X = torch.arange(4.0)[:, None]


class Listed(Goodness):
    """The evidence of a table, by the number of the sample. Notes the samples that it sees."""

    form = "class"

    def __init__(self, table):
        super().__init__()
        self.table, self.seen = table, []

    def forward(self, h, views=None):
        self.seen.append(h[:, 0].long().tolist())
        return self.table[h[:, 0].long()]


def network(contribution="sum", **more):
    blocks = [
        ffcore.LocalBlock(nn.Identity(), Listed(table), objective="cross-entropy", name=f"b{i + 1}")
        for i, table in enumerate(EVIDENCE)
    ]
    stages = [blocks[0], nn.Flatten(), blocks[1], blocks[2]]
    return ffcore.Network(stages, ChannelClass(), X[:2], 3, contribution=contribution, **more).eval()


def early(net):
    return Early(net.algorithm, net.local, net.contribution, net.shape)


def seen(net):
    return [block.goodness.seen[-1] for block in net.blocks]


def test_margins_and_deviations_are_those_by_hand():
    made = early(network()).measure(X, Y)
    assert torch.equal(made.margins, MARGINS)
    assert torch.equal(made.right, RIGHT)
    assert made.deviations[:2].tolist() == pytest.approx(SIGMA)


def test_a_threshold_gives_accuracy_blocks_and_multiplications_by_hand():
    measured = Measured(MARGINS, RIGHT)
    limits = thresholds(1.5, measured.deviations)
    assert limits.tolist() == pytest.approx([2.1213, 3], abs=1e-4)
    assert leave(MARGINS, limits).tolist() == [0, 1, 2, 1]
    assert measured.at(limits, (1, 2, 3), (10, 30, 60)) == Operation(1.0, 2.0, 32.5)
    assert measured.at(torch.zeros(2), (1, 2, 3), (10, 30, 60)) == Operation(0.5, 1.0, 10.0)
    never = thresholds(math.inf, measured.deviations)
    assert measured.at(never, (1, 2, 3), (10, 30, 60)) == Operation(0.75, 3.0, 60.0)


@pytest.mark.parametrize(("tolerance", "chosen"), [(0, 1), (0.1, 1), (24.9, 1), (25, 0)])
def test_the_cheapest_threshold_within_the_tolerance_is_chosen(tolerance, chosen):
    tried = [Operation(0.5, 1, 10), Operation(1.0, 2, 32.5), Operation(0.75, 3, 60)]
    assert cheapest(tried, tolerance) == chosen
    assert cheapest([Operation(0.2, 1, 10), *tried[1:]], 25) == 1


def test_candidates_are_quantiles_of_all_exits_but_the_last():
    # m / σ: 0, then 1 / √2 twice, √2, 2 three times, 2 √2; quantiles 0, 1/16, 1/4, 9/16 of seven steps
    found = candidates(Measured(MARGINS, RIGHT), 4)
    assert found == pytest.approx([0, math.sqrt(0.5), math.sqrt(2), math.inf])


def test_no_sample_leaves_where_all_margins_are_equal_or_not_a_number():
    assert thresholds(1.0, torch.tensor([0.0, math.nan, 2.0])).tolist() == [math.inf, math.inf]
    assert candidates(Measured(torch.zeros(3, 4), RIGHT)) == [math.inf]
    unknown = MARGINS.clone()
    unknown[:, 0] = math.nan
    assert leave(unknown, torch.zeros(2)).tolist() == [2, 0, 0, 0]


def test_blocks_do_not_run_for_samples_that_have_left():
    net = network()
    scores, out = early(net).predict(X, (2.1, 3.0))
    assert seen(net) == [[0, 1, 2, 3], [1, 2, 3], [2]]
    assert out.tolist() == [0, 1, 2, 1]
    assert scores.tolist() == [[5, 1, 0], [1, 5, 0], [0, 1, 4], [0, 0, 4]]
    early(net).predict(X[:1], (2.1, 3.0))
    assert seen(net) == [[0], [1, 2, 3], [2]], "the second block does not run at all"


def test_without_leaving_samples_it_is_the_whole_prediction():
    net = network()
    scores, out = early(net).predict(X, (math.inf, math.inf))
    assert torch.equal(scores, net.scores(X))
    assert torch.equal(early(net).whole(X), scores)
    assert out.tolist() == [2, 2, 2, 2]


def test_the_largest_two_scores_make_the_margin():
    assert margin(torch.tensor([[3.0, 7.0, 7.0], [1.0, -4.0, 0.5]])).tolist() == [0.0, 0.5]


class Learned(LayerContribution):
    """A contribution with weights of its own, of which the first is 0."""

    needs = frozenset({"val.loss"})

    def combine(self, scores):
        return torch.tensordot(torch.tensor([0.0, 1.0, 2.0]), scores, 1)


class NeedsThree(Sum):
    """A contribution that cannot be set up for fewer than three sources."""

    def setup(self, context):
        if len(context.sources) < 3:
            raise ValueError("too few")
        super().setup(context)


@pytest.mark.parametrize(
    ("contribution", "expected"),
    [
        ("sum", [EVIDENCE[0], EVIDENCE[0] + EVIDENCE[1], EVIDENCE.sum(0)]),
        ("mean", [EVIDENCE[0], (EVIDENCE[0] + EVIDENCE[1]) / 2, EVIDENCE.mean(0)]),
        ("last", list(EVIDENCE)),
        ("skip-first", [EVIDENCE[0], EVIDENCE[1], EVIDENCE[1] + EVIDENCE[2]]),
        (Learned(), [0 * EVIDENCE[0], EVIDENCE[1], EVIDENCE[1] + 2 * EVIDENCE[2]]),
        (NeedsThree(), [EVIDENCE[0], EVIDENCE[0] + EVIDENCE[1], EVIDENCE.sum(0)]),
    ],
    ids=["sum", "mean", "last", "skip-first", "learned", "needs three"],
)
def test_a_contribution_combines_the_evidence_that_is_known(contribution, expected):
    combined = early(network(contribution))._combined
    for exit_, wanted in enumerate(expected):
        assert torch.equal(combined(exit_, EVIDENCE[: exit_ + 1]), wanted)


@pytest.mark.parametrize(
    "recipe",
    ["ff", "layer-collaboration", "channel", "mono-forward", "cafo", "predsim", "trifecta", "ffzero"],
)
def test_step_by_step_the_evidence_is_that_of_the_algorithm(recipe):
    net = ffcore.from_recipe(f"digits/{recipe}", shape=(1, 8, 8), classes=10).eval()
    exits = exits_of(net.algorithm, net.local)
    x = torch.rand(230, 1, 8, 8)  # more than one pass of Forward-Forward
    walk = Stepwise(net.algorithm, net.local, exits, x)
    with torch.no_grad():
        whole = torch.stack(list(net.algorithm.evidence(x, net.local)))
    parts = [walk.step() for _ in exits]
    assert torch.equal(torch.cat(parts), whole)
    some = torch.arange(230) % 3 == 0
    walk = Stepwise(net.algorithm, net.local, exits, x)
    walk.step()
    walk.keep(some)
    assert torch.allclose(walk.step(), parts[1][:, some], atol=1e-5)


def test_multiplications_are_those_of_the_cost_sheet():
    net = ffcore.from_recipe("digits/mono-forward", shape=(1, 8, 8), classes=10).eval()
    sheet = ffcore.cost_sheet(net, batch_size=1)
    made = early(net).multiplications(torch.rand(2, 1, 8, 8))
    first, second = (block.predict for block in sheet.blocks)
    assert made == (first, first + second)
    assert made[-1] == sheet.predict


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("digits/backprop", "only head gives evidence"),
        ("digits/noprop", "a circuit calls its blocks in turns"),
        ("digits/pff", "a circuit calls its blocks in turns"),
        ("digits/blackbox-sign", "inside a black box are not known"),
        ("digits/ff-unsupervised", "no blocks in a row give evidence"),
        ("digits/softhebb", "no blocks in a row give evidence"),
    ],
)
def test_networks_without_evidence_block_by_block_are_refused(recipe, reason):
    net = ffcore.from_recipe(recipe, shape=(1, 8, 8), classes=10).eval()
    with pytest.raises(UserError, match=reason) as caught:
        early(net)
    assert "\n" not in str(caught.value)


def test_a_pass_with_rows_that_are_no_samples_is_refused():
    net = ffcore.from_recipe("digits/sigprop", shape=(1, 8, 8), classes=10).eval()
    with pytest.raises(UserError, match="SignalPropagation depends on rows that are no samples"):
        early(net).multiplications(torch.rand(2, 1, 8, 8))


def test_a_contribution_that_reads_a_readout_is_refused():
    net = network("readout", readouts={"softmax": "softmax"})
    with pytest.raises(UserError, match="FromReadout reads a readout, which is known only after all blocks"):
        early(net)


@pytest.mark.parametrize("recipe", ["mnist/ff-fast", "mnist/ff-fast-2000x4"])
def test_a_sum_with_readouts_is_refused_and_the_remedy_works(recipe):
    made = partial(ffcore.from_recipe, recipe, shape=(1, 8, 8), classes=10)
    expected = "the contribution Sum reads a readout, .* as last, mean, and sum with readouts: 0 do$"
    with pytest.raises(UserError, match=expected):
        early(made().eval())
    assert len(early(made(**{"contribution.readouts": 0}).eval()).exits) > 1


@pytest.mark.parametrize("task", [ffcore.tasks.MultiLabel(10), ffcore.tasks.Unsupervised()])
def test_other_tasks_are_refused(task):
    net = ffcore.from_recipe("digits/mono-forward", shape=(1, 8, 8), classes=10)
    net.local.task = task
    with pytest.raises(UserError, match="one of several classes a sample, not for the task"):
        early(net)


class Own(ChannelClass):
    """Computes scores in its own way."""

    def scores(self, x, net):
        return super().scores(x, net)


class Twice(ChannelClass):
    """Computes its evidence in two passes of all samples."""

    def evidence(self, x, net):
        return [a + b for a, b in zip(super().evidence(x, net), super().evidence(x, net), strict=True)]


class Outputs(ChannelClass):
    """Computes its evidence from the outputs of all blocks."""

    def evidence(self, x, net):
        return [out.goodness for out in net.outputs(self.neutral(x)).values()]


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        (Own, "Own has its own way to scores"),
        (Twice, "evidence of Twice does not look at every sample once"),
        (Outputs, "evidence of Outputs needs passes through the whole network"),
    ],
)
def test_algorithms_with_other_passes_are_refused(algorithm, reason):
    net = network()
    with pytest.raises(UserError, match=reason):
        Early(algorithm(), net.local, net.contribution, net.shape).multiplications(X)


class Pair(nn.Module):
    """Hands two tensors to the next stage."""

    def forward(self, x):
        return x, x


def test_two_tensors_between_stages_are_refused():
    net = network()
    net.local.body[1] = Pair()
    exits = exits_of(net.algorithm, net.local)
    exits = (Exit("b1", 1, 1, range(2)), *exits[1:])
    with pytest.raises(UserError, match="not a tensor with the rows of the pass"):
        Stepwise(net.algorithm, net.local, exits, X).step()


def test_a_block_of_two_stages_is_refused():
    net = network()
    net.local.body.append(net.local.body[0])
    with pytest.raises(UserError, match="a block is called by several stages"):
        early(net)


def test_several_inputs_are_refused():
    net = network()
    for shape in ({"a": (1,), "b": (1,)}, ((1,), (1,))):
        with pytest.raises(UserError, match="not for several inputs"):
            Early(net.algorithm, net.local, net.contribution, shape)
