import torch

from ffcore.interfaces import BatchRNG
from ffcore.interfaces.batch_rng import mix


def kinds(rng):
    return rng.uniform("a", 3), rng.normal("a", 2), rng.integers("a", 9)


def test_two_ranks_draw_what_one_would():
    whole = kinds(BatchRNG(1, 7, 0, 5, 5))
    shares = zip(kinds(BatchRNG(1, 7, 0, 2, 5)), kinds(BatchRNG(1, 7, 2, 3, 5)), strict=True)
    for one, both in zip(whole, shares, strict=True):
        assert torch.equal(one, torch.cat(both))


def test_the_same_key_gives_the_same_numbers():
    for one, other in zip(kinds(BatchRNG(1, 7, 0, 5, 5)), kinds(BatchRNG(1, 7, 0, 5, 5)), strict=True):
        assert torch.equal(one, other)


def test_seed_step_stream_and_call_all_matter():
    rng = BatchRNG(1, 7, 0, 50, 50)
    drawn = [
        rng.uniform("a"),
        rng.uniform("a"),
        rng.uniform("b"),
        BatchRNG(2, 7, 0, 50, 50).uniform("a"),
        BatchRNG(1, 8, 0, 50, 50).uniform("a"),
    ]
    assert torch.pdist(torch.stack(drawn)).min() > 0.5


def test_streams_are_independent():
    alone, beside = BatchRNG(1, 7, 0, 5, 5), BatchRNG(1, 7, 0, 5, 5)
    beside.normal("other")
    assert torch.equal(alone.uniform("a"), beside.uniform("a"))


def test_the_global_random_state_is_neither_used_nor_changed():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one = BatchRNG(1, 7, 0, 5, 5).normal("a")
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(4)
    assert torch.equal(one, BatchRNG(1, 7, 0, 5, 5).normal("a"))


def test_integers_stay_below_the_bound():
    drawn = BatchRNG(0, 0, 0, 1000, 1000).integers("a", 3)
    assert sorted(drawn.unique().tolist()) == [0, 1, 2]


def test_mix_depends_on_the_words_and_their_order():
    seeds = [mix(), mix(0), mix(0, 0), mix(1), mix(1, 2), mix(2, 1), mix(-1), mix(1 << 40)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 1 << 63 for seed in seeds)
