"""A saved state continues bit for bit; files stay whole."""

import errno
import os
import resource

import numpy as np
import pytest

from ffcore.edge import EdgeError, Learner, StoppedError, load
from tests.edge.bundles import data, edit


class StopError(Exception):
    pass


def same(a, b):
    assert a.progress == b.progress
    for (name, left), (other, right) in zip(a.items(), b.items(), strict=True):
        assert (name, left.dtype, left.tobytes()) == (other, right.dtype, right.tobytes())


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 7])
def test_an_interrupted_run_continues_bit_for_bit(make_bundle, tmp_path, at, closed):
    bundle = load(make_bundle(closed=closed, per_block=True, rates=[[1 - j / 32 for j in range(17)]]))
    x, y = data(21)
    whole, cut, rest = Learner(bundle, 5), Learner(bundle, 5), Learner(bundle)
    right = whole.learn(x, y, epochs=3)

    def stop():
        if cut.progress.steps == at:
            cut.save(tmp_path / "state.npz")
            raise StopError

    with pytest.raises(StopError):
        cut.learn(x, y, epochs=3, on_batch=stop)
    rest.resume(tmp_path / "state.npz")
    assert rest.progress.seed == 5
    same(rest, cut)
    made = rest.learn(x, y, epochs=3 - rest.progress.epoch)
    same(rest, whole)
    assert [(e.epoch, e.losses, e.samples) for e in made] == [
        (e.epoch, e.losses, e.samples) for e in right[-len(made) :]
    ]


def test_equal_states_give_equal_files(make_learner, samples, tmp_path):
    learner = make_learner()
    learner.learn(*samples, epochs=1)
    for name in ("a.npz", "b.npz"):
        learner.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz", "bundle"], "no drafts"


@pytest.fixture
def small_files():
    """Files larger than 600 bytes cannot be written, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_disk_that_fills_leaves_the_old_file(make_learner, samples, tmp_path, request):
    learner = make_learner()
    path = tmp_path / "state.npz"
    learner.save(path)
    before = path.read_bytes()
    learner.learn(*samples, epochs=1)
    request.getfixturevalue("small_files")
    with pytest.raises(StoppedError, match=r"state.npz: cannot be written: .*; the old file is unchanged"):
        learner.save(path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "state.npz"]


def test_a_disk_that_fills_at_the_flush_leaves_no_file(make_learner, tmp_path, monkeypatch):
    learner = make_learner()

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoppedError, match=r"state.npz: cannot be written: No space left on device$"):
        learner.save(tmp_path / "state.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("path", ["/dev/full", ".", "nowhere/state.npz"])
def test_devices_and_directories_are_not_replaced(make_learner, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgeError, match=r"not an ordinary file|does not exist"):
        make_learner().save(path)


def test_the_state_of_another_bundle_is_refused(make_bundle, make_learner, tmp_path):
    learner = make_learner(name="one")
    learner.save(tmp_path / "state.npz")
    other = Learner(load(edit(make_bundle("two"), seed=2)))
    with pytest.raises(EdgeError, match=r"state.npz: is the state of another bundle than .*two"):
        other.resume(tmp_path / "state.npz")


def test_damaged_state_files_are_refused_and_change_nothing(make_learner, samples, states, tmp_path):
    learner = make_learner()
    path = tmp_path / "state.npz"
    learner.save(path)
    content = path.read_bytes()
    learner.learn(*samples, epochs=1)
    before, progress = states(learner), learner.progress
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for broken in (b"", content[:100], content[:-40], content[:middle], flipped, b"PK\x03\x04" + b"0" * 50):
        path.write_bytes(broken)
        with pytest.raises(EdgeError) as caught:
            learner.resume(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(EdgeError, match="not a state file"):
        learner.resume(path)
    with pytest.raises(EdgeError, match="no such file"):
        learner.resume(tmp_path / "other.npz")
    assert learner.progress is progress
    for name, array in states(learner).items():
        assert np.array_equal(array, before[name])


def test_a_state_file_with_a_pickle_or_another_array_is_refused(make_learner, tmp_path):
    learner = make_learner()
    path = tmp_path / "state.npz"
    learner.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    for array, message in (
        (np.array([{}], dtype=object), "out.bias is a pickle, which could run code"),
        (np.zeros(4, np.float32), r"out.bias should be float32 \(3,\), not float32 \(4,\)"),
        (np.zeros(3), r"out.bias should be float32 \(3,\), not float64 \(3,\)"),
        (np.full(3, np.nan, np.float32), "out.bias has values that are not finite"),
    ):
        np.savez(path, **{**arrays, "state/out.bias": array})
        with pytest.raises(EdgeError, match=message):
            learner.resume(path)
    del arrays["state/out.bias"]
    np.savez(path, **arrays)
    with pytest.raises(EdgeError, match=r"has no array state/out.bias"):
        learner.resume(path)
