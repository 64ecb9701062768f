"""Every registered component passes its checks."""

import pytest

from ffcore.testing import cases


@pytest.mark.parametrize("case", cases(), ids=str)
def test_conformance(case):
    case.run()
