"""Everything that is registered keeps its contract."""

import pytest

from ffcore.testing import cases


@pytest.mark.parametrize("case", cases(), ids=str)
def test_conformance(case):
    case.run()
