"""No negative has the sample's own class as its hypothesis."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ffcore.interfaces import BatchRNG, Context
from ffcore_ff.negatives import Hard, WrongLabel

# A readout may be certain, undecided, or give no class anything at all.
mass = st.sampled_from([0.0, 1e-30, 1e-8, 0.3, 1.0])


@st.composite
def problems(draw):
    classes, n = draw(st.integers(2, 12)), draw(st.integers(1, 6))
    y = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    rows = draw(st.lists(st.lists(mass, min_size=classes, max_size=classes), min_size=n, max_size=n))
    return classes, torch.tensor(y), torch.tensor(rows), draw(st.integers(0, 2**40))


@given(problems())
def test_a_negative_never_has_its_own_class(problem):
    classes, y, probabilities, seed = problem
    x = torch.zeros(len(y), 1)
    for negatives in (WrongLabel(), Hard()):
        negatives.setup(Context((1,), classes))
        drawn = BatchRNG(seed, 0, 0, len(y), len(y))
        same, wrong = negatives(x, y, lambda: probabilities, drawn)
        assert same is x
        assert ((wrong >= 0) & (wrong < classes) & (wrong != y)).all()
