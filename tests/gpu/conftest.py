import sys
from pathlib import Path

import pytest
import torch

# The kit's modules import each other, as scripts of one folder do.
sys.path.append(str(Path(__file__).parents[1] / "bench"))


@pytest.fixture(scope="session")
def gpu():
    """The first GPU; without one the test is skipped."""
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU: torch {torch.__version__} finds no CUDA device")
    return torch.device("cuda", 0)
