"""The kit catches evidence, schedules, rules, boxes and algorithms that break their contract."""

import pytest
import torch

from ffcore.interfaces import (
    Algorithm,
    BlackBox,
    Circuit,
    LayerContribution,
    LearningRule,
    Readout,
    Schedule,
    Views,
)
from ffcore.testing import run_check


class Ranked(LayerContribution):
    """A sample's score depends on its index."""

    def combine(self, scores):
        return scores.sum(0) * torch.arange(scores.shape[1]).unsqueeze(1)


class Transposed(LayerContribution):
    """Sums over the wrong dimension."""

    def combine(self, scores):
        return scores.sum(2)


class Needy(LayerContribution):
    """Has an unknown need."""

    needs = frozenset({"test.loss"})

    def combine(self, scores):
        return scores.sum(0)


class Twice(Schedule):
    """Blocks in two windows."""

    def windows(self, progress, blocks):
        return (range(blocks), range(blocks))


class Beyond(Schedule):
    """One block too many."""

    def windows(self, progress, blocks):
        return (range(blocks + 1),)


class First(Schedule):
    """Only the first block learns."""

    def windows(self, progress, blocks):
        return (range(1),) if blocks > 1 else ()


class Elsewhere(Readout):
    """Reads a block that does not exist."""

    def setup(self, context):
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


class Gathering(LearningRule):
    """Right: sums up the block's inputs until the epoch ends, and then takes a step against their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.total = None

    def learn(self, window, views):
        ((block, (x,), out),) = window
        self.total = x.sum(0) if self.total is None else self.total + x.sum(0)
        return [{name: term.detach() for name, term in block.losses(out, views).items()}]

    @torch.no_grad()
    def finish(self, block, ranks):
        if self.total is not None:
            block.body.weight -= self.total
            self.total = None


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


class Connected(Circuit):
    """Says that its blocks are independent, but the second reads the first."""

    independent = True
    calls, reads = 1, range(1)

    def setup(self, context):
        self.blocks = torch.nn.ModuleList(
            context.block(f"block{i}", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20, 20)))
            for i in range(2)
        )

    def forward(self, x, views):
        for block in self.blocks:
            x = block(x)
        return x

    def alone(self, block, x, views):
        block(x)


class Peeking(Connected):
    """Says that it takes turns, but reads the weights of the first block in a turn of the second."""

    independent, takes_turns = False, True

    def forward(self, x, views):
        for block in self.blocks:
            weight = self.blocks[0].body[1].weight
            (x,) = self.turns.shared((block, lambda block=block, x=x, weight=weight: block(x + weight.sum())))
        return x


class Borrowing(Peeking):
    """Reads a result that only the first block's rank has in a turn of the second."""

    def forward(self, x, views):
        first, second = self.blocks
        y = self.turns.own(first, lambda: first(x))
        return self.turns.shared((second, lambda: second(y)))[0]


class Counting(Peeking):
    """Reads the shape of such a result."""

    def forward(self, x, views):
        first, second = self.blocks
        rows = len(self.turns.own(first, lambda: first(x)))
        return self.turns.shared((second, lambda: second(x)))[0][:rows]


class Averaging(Peeking):
    """Reads a running mean of the first block in a turn of the second."""

    def setup(self, context):
        super().setup(context)
        self.blocks[0].body.append(torch.nn.BatchNorm1d(20))

    def forward(self, x, views):
        first, second = self.blocks
        self.turns.own(first, lambda: first(x))
        return self.turns.shared((second, lambda: second(x + first.body[2].running_mean.sum())))[0]


class Lazy(Algorithm):
    """Learns nothing, scores nothing."""

    def views(self, batch, net):
        return Views(batch.x, ("positive",), (len(batch.x),))

    def learn(self, batch, net):
        pass

    def scores(self, x, net):
        return torch.zeros(len(net.sources), len(x), net.classes)


class Rolling(Lazy):
    """Changes its batch, uses the global random state, returns scores of a wrong shape."""

    def learn(self, batch, net):
        batch.x += torch.rand(())

    def scores(self, x, net):
        return torch.zeros(len(x), net.classes)


CAUGHT = [
    ("contribution", Ranked, "does not mind the order of samples", "not close"),
    ("contribution", Transposed, "gives a score a class", r"scores are \(4, 6\), not \(6, 4\)"),
    ("contribution", Needy, "needs what the engine has", "needs test.loss"),
    ("schedule", Twice, "windows are ascending disjoint and in range", "not ascending and disjoint"),
    ("schedule", Beyond, "windows are ascending disjoint and in range", "of 1 blocks"),
    ("schedule", First, "lets every block learn", "some block never learns"),
    ("readout", Elsewhere, "connects to blocks that exist", "reads .*nowhere"),
    ("rule", Idle, "moves every block", "block1 has not learned"),
    ("rule", Dragging, "reports detached losses of every block", "has a graph"),
    ("blackbox", Dropping, "keeps rows", "for 6 rows"),
    ("circuit", Connected, "independent blocks learn alone", "learns differently .*blocks.1"),
    ("circuit", Peeking, "uses parameters in turns", "learns differently .*blocks.1"),
    ("circuit", Borrowing, "uses parameters in turns", "fails where only the block block1 is"),
    ("circuit", Counting, "uses parameters in turns", "fails where only the block block1 is: TypeError"),
    ("circuit", Averaging, "uses parameters in turns", "learns differently .*blocks.1"),
    ("algorithm", Lazy, "learns an easy problem", "on four easy classes"),
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


def test_a_box_that_cannot_be_closed_twice_is_caught(register):
    register("blackbox", OpenOnce)
    with pytest.raises(AttributeError):
        run_check("blackbox", "mine", "can be closed twice")


def test_each_block_has_its_own_copy_of_a_rule(register):
    register("rule", Gathering)
    run_check("rule", "mine", "moves every block")


class Projected(LearningRule):
    """The class of a sample, through a fixed random matrix that is drawn in `setup`, is the error."""

    def setup(self, context):
        self.register_buffer("back", torch.randn(context.classes, *context.shape))

    def learn(self, window, views):
        ((block, _, out),) = window
        if block.goodness.form != "class":
            raise ValueError("needs classes")
        parameters = list(block.body.parameters())
        found = torch.autograd.grad(out.activity, parameters, self.back[views.y])
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        return [{}]


class Forgetful(Projected):
    """Its matrix is missing in the state."""

    def setup(self, context):
        self.back = torch.randn(context.classes, *context.shape)


def test_a_rule_may_draw_in_its_setup_what_it_stores(register):
    register("rule", Projected)
    run_check("rule", "mine", "repeats itself in evaluation")
    run_check("rule", "mine", "state makes another one equal")


def test_a_rule_that_does_not_store_what_it_has_drawn_is_caught(register):
    register("rule", Forgetful)
    with pytest.raises(AssertionError, match="state_dict is incomplete"):
        run_check("rule", "mine", "state makes another one equal")
