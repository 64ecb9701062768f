"""Schedules, by table."""

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import Context, Progress
from ffcore_std.schedules import Greedy, Interleaved, Joint, OneWindow, Overlapping, Windows
from ffcore_std.stopping import Stopping


def windows(schedule, epoch=0, step=0, epochs=6, blocks=3):
    return [(w.start, w.stop) for w in schedule.windows(Progress(epoch, step, epochs), blocks)]


def test_joint_is_a_window_a_block():
    assert windows(Joint()) == [(0, 1), (1, 2), (2, 3)]


def test_one_window_is_over_everything():
    assert windows(OneWindow()) == [(0, 3)]


@pytest.mark.parametrize(
    ("epochs", "each", "turns"),
    [
        (6, None, [0, 0, 1, 1, 2, 2]),
        (5, None, [0, 0, 1, 1, 2]),
        (3, None, [0, 1, 2]),
        (6, 2, [0, 0, 1, 1, 2, 2]),
    ],
)
def test_greedy_takes_turns(epochs, each, turns):
    found = [windows(Greedy(each), epoch, epochs=epochs) for epoch in range(epochs)]
    assert found == [[(at, at + 1)] for at in turns]


@pytest.mark.parametrize(("each", "turns"), [(1, [0, 1, 2]), ([2, 2, 1], [0, 0, 1, 1, 2])])
def test_no_block_learns_for_more_than_its_epochs_nor_does_the_last(each, turns):
    found = [windows(Greedy(each), epoch, epochs=7) for epoch in range(7)]
    assert found == [[(at, at + 1)] for at in turns] + [[]] * (7 - len(turns))


@pytest.mark.parametrize(("each", "epochs"), [(None, 2), (2, 5)])
def test_greedy_needs_epochs_for_every_block(each, epochs):
    with pytest.raises(ValueError, match=f"the run has {epochs}"):
        windows(Greedy(each), epochs=epochs)


@pytest.mark.parametrize(
    ("epoch", "right"), [(0, [(0, 1)]), (1, [(0, 1), (1, 2)]), (2, [(1, 2), (2, 3)]), (4, [])]
)
def test_interleaved_learns_in_spans(epoch, right):
    assert windows(Interleaved([(0, 2), (1, 3), (2, 4)]), epoch) == right


def test_interleaved_needs_a_span_a_block():
    with pytest.raises(ValueError, match="2 spans for 3 blocks"):
        windows(Interleaved([(0, 1), (1, 2)]))


@pytest.mark.parametrize(
    ("size", "right"), [(1, [(0, 1), (1, 2), (2, 3)]), (2, [(0, 2), (2, 3)]), (4, [(0, 3)])]
)
def test_windows_of_a_size_end_with_a_shorter_one(size, right):
    assert windows(Windows(size), blocks=3) == right


@pytest.mark.parametrize(
    ("size", "step", "blocks", "right"),
    [
        (2, 0, 5, [(0, 2), (2, 4), (4, 5)]),
        (2, 1, 5, [(0, 1), (1, 3), (3, 5)]),
        (2, 2, 4, [(0, 2), (2, 4)]),
        (3, 1, 4, [(0, 1), (1, 4)]),
        (3, 2, 4, [(0, 2), (2, 4)]),
        (1, 7, 2, [(0, 1), (1, 2)]),
        (4, 0, 2, [(0, 2)]),
    ],
)
def test_overlapping_shifts_with_every_batch(size, step, blocks, right):
    assert windows(Overlapping(size), step=step, blocks=blocks) == right


def test_greedy_has_an_own_number_of_epochs_for_each_block():
    turns = [windows(Greedy([3, 1, 2]), epoch, epochs=6)[0][0] for epoch in range(6)]
    assert turns == [0, 0, 0, 1, 2, 2]


def test_greedy_refuses_epochs_for_another_number_of_blocks():
    with pytest.raises(ValueError, match="epochs of 2 blocks, but 3 learn"):
        windows(Greedy([3, 1]), epochs=8)


def judged(schedule, scores_of_epochs, epochs=9, blocks=3):
    """Returns the learning blocks of each epoch, when blocks have these scores after it."""
    schedule.setup(Context((4,), 10, blocks=blocks))
    seen = []
    for epoch, scores in enumerate(scores_of_epochs):
        seen.append([i for w in schedule.windows(Progress(epoch, epoch, epochs), blocks) for i in w])
        schedule.measured(scores, Progress(epoch, epoch, epochs))
    finished = schedule.finished(Progress(len(scores_of_epochs) - 1, 0, epochs), blocks)
    return seen, finished


def test_greedy_goes_to_the_next_block_when_one_does_not_improve():
    scores = [(0.5, 0, 0), (0.6, 0, 0), (0.6, 0, 0), (0.6, 0.7, 0), (0, 0.7, 0), (0, 0, 0.8), (0, 0, 0.7)]
    assert judged(Greedy(3, patience=1), scores) == ([[0], [0], [0], [1], [1], [2], [2]], True)


def test_greedy_ends_a_block_after_its_epochs_although_it_improves():
    scores = [(0.1 * epoch,) * 3 for epoch in range(1, 7)]
    assert judged(Greedy(2, patience=1), scores[:5]) == ([[0], [0], [1], [1], [2]], False)
    assert judged(Greedy(2, patience=1), scores) == ([[0], [0], [1], [1], [2], [2]], True)


def test_the_epochs_of_a_block_that_stops_early_are_left_to_the_last_only_if_none_are_given():
    # the first block stops after two of its three epochs
    scores = [(0.5,) * 3, *((0.5 + 0.1 * epoch if epoch else 0.5,) * 3 for epoch in range(7))]
    given, finished = judged(Greedy(3, patience=1), scores)
    assert (given, finished) == ([[0], [0], [1], [1], [1], [2], [2], [2]], True)
    divided, finished = judged(Greedy(patience=1), scores)
    assert (divided, finished) == ([[0], [0], [1], [1], [1], [2], [2], [2]], False)


def test_a_block_stops_only_after_all_blocks_before_it():
    scores = [(0.5, 0.5, 0.5), (0.6, 0.5, 0.5), (0.6, 0.5, 0.6), (0.6, 0.5, 0.6), (0.6, 0.5, 0.6)]
    stopping = Stopping(patience=1)
    assert judged(stopping, scores) == ([[0, 1, 2], [0, 1, 2], [0, 1, 2], [2], []], True)


def test_an_improvement_that_is_too_small_does_not_count():
    scores = [(0.5,), (0.504,), (0.512,), (0.514,)]
    assert judged(Stopping(patience=2, least=0.01), scores, blocks=1)[0] == [[0], [0], [0], [0]]
    assert judged(Stopping(patience=2, least=0.02), scores, blocks=1)[0] == [[0], [0], [0], []]


def test_blocks_that_share_a_graph_stop_together():
    scores = [(0.5, 0.5), (0.5, 0.6), (0.5, 0.6)]
    assert judged(Stopping("one-window", patience=1), scores, blocks=2) == ([[0, 1], [0, 1], [0, 1]], True)


def test_the_state_of_stopping_is_that_of_a_checkpoint():
    one, other = Stopping(patience=1), Stopping(patience=1)
    judged(one, [(0.5, 0.5, 0.5), (0.5, 0.6, 0.6)])
    other.setup(Context((4,), 10, blocks=3))
    other.load_state_dict(one.state_dict())
    assert windows(other, epoch=2, epochs=9) == windows(one, epoch=2, epochs=9) == [(1, 2), (2, 3)]
    assert windows(other, epoch=0, epochs=9) == [(0, 1), (1, 2), (2, 3)]


def test_stopping_refuses_blocks_that_learn_in_turns():
    stopping = Stopping({"kind": "greedy", "epochs": 2})
    stopping.setup(Context((4,), 10, blocks=3))
    with pytest.raises(ValueError, match="lets blocks learn in turns"):
        windows(stopping, epochs=6)


@pytest.mark.parametrize("kind", [Stopping, Greedy])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"patience": 0}, "^patience: should be an integer from 1, not 0"),
        ({"patience": 1.5}, r"^patience: should be an integer from 1, not 1\.5"),
        ({"patience": 1, "least": -0.1}, r"^least: should be a number from 0, not -0\.1"),
    ],
)
def test_options_that_a_recipe_refuses_are_refused_of_objects(kind, options, expected):
    with pytest.raises(UserError, match=expected):
        kind(**options)


def test_a_schedule_that_stops_by_itself_is_refused_inside():
    with pytest.raises(UserError, match="it stops blocks by itself"):
        Stopping({"kind": "greedy", "patience": 1})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Greedy(epochs=[2, 0, 1]), "^epochs: should be an integer from 1, not 0$"),
        (lambda: Greedy(epochs=-1), "^epochs: should be an integer from 1, not -1$"),
        (lambda: Greedy(epochs=[]), "^epochs: should be a number for every block, not an empty list$"),
        (lambda: Greedy(epochs=1.5), r"^epochs: should be an integer from 1, not 1\.5$"),
        (lambda: Greedy(epochs=[2, True]), "^epochs: should be an integer from 1, not True$"),
        (lambda: Greedy(epochs="2"), "^epochs: should be an integer from 1, not '2'$"),
        (lambda: Greedy(least=0.1), r"^least: is 0\.1, but only a patience reads it; set patience too$"),
        (lambda: Windows(size=0), "^size: should be an integer from 1, not 0$"),
        (lambda: Overlapping(size=0), "^size: should be an integer from 1, not 0$"),
        (lambda: Overlapping(size=2.0), r"^size: should be an integer from 1, not 2\.0$"),
        (
            lambda: Interleaved([(0, 2), (2, 1)]),
            r"^spans: \[2, 1\] is empty; spans are \[first, end\) from 0$",
        ),
        (lambda: Interleaved([(-1, 2)]), "^spans: should be an integer from 0, not -1$"),
        (lambda: Interleaved([(0, 1.5)]), r"^spans: should be an integer from 0, not 1\.5$"),
        (lambda: Interleaved([(0,)]), r"^spans: \(0,\) should be \[first, end\]$"),
        (lambda: Interleaved([3]), r"^spans: should be \[first, end\] for every block, not 3$"),
        (lambda: Interleaved(3), r"^spans: should be a list of \[first, end\], one for every block, not 3$"),
    ],
)
def test_schedules_made_in_python_are_checked_like_those_of_recipes(make, expected):
    with pytest.raises(UserError, match=expected):
        make()
