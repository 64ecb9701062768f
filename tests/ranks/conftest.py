import importlib.util
import sys
from pathlib import Path

import pytest
import torch


def load(name):
    """Import a module of this directory: tests are not a package, and the pool's processes import it too."""
    spec = importlib.util.spec_from_file_location(f"ranks_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def pool():
    """Two ranks that are connected once for all tests."""
    made = load("pool").Pool(2)
    yield made
    made.close()


@pytest.fixture(scope="session")
def four():
    """Four ranks, for a grid."""
    made = load("pool").Pool(4)
    yield made
    made.close()


@pytest.fixture(scope="session")
def levels(work):
    """The module levels.py, which uses work.py."""
    return load("levels")


@pytest.fixture(scope="session")
def exchange():
    """The module exchange.py."""
    return load("exchange")


@pytest.fixture(scope="session")
def work():
    """The module work.py, whose functions the ranks of the pool run, in this process."""
    return load("work")


@pytest.fixture(scope="session")
def same_steps():
    """The check that ranks have made the steps of one process; see `check_steps`."""
    return check_steps


def check_steps(one, start, ranks, most):
    """Parameters and buffers have changed since the start, are equal on all ranks, and are those of one."""
    assert max(float((one[name] - start[name]).abs().max()) for name in one) > 1e-4
    for name, value in one.items():
        assert all(torch.equal(ranks[0][name], other[name]) for other in ranks[1:]), (
            f"{name} differs between the ranks"
        )
        difference = (ranks[0][name] - value).abs() / value.abs().clamp(min=1)
        assert float(difference.max()) <= most, name
