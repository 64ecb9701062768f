"""Schedules, by table."""

import pytest

from ffcore.interfaces import Progress
from ffcore_std.schedules import Greedy, Interleaved, Joint, OneWindow, Overlapping, Windows


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
        (5, 1, [0, 1, 2, 2, 2]),
    ],
)
def test_greedy_takes_turns(epochs, each, turns):
    found = [windows(Greedy(each), epoch, epochs=epochs) for epoch in range(epochs)]
    assert found == [[(at, at + 1)] for at in turns]


@pytest.mark.parametrize(("each", "epochs"), [(None, 2), (2, 5)])
def test_greedy_needs_epochs_for_every_block(each, epochs):
    with pytest.raises(ValueError, match=f"max_epochs is {epochs}"):
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
