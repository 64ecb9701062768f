"""The conformance kit: checks for every registered component.

A complete conformance test of a plugin::

    import pytest
    from ffcore.testing import cases

    @pytest.mark.parametrize("case", cases(plugin="my-plugin"), ids=str)
    def test_conformance(case):
        case.run()
"""

from ffcore.testing.conformance import Case, cases, checks_of, run_check
from ffcore.testing.example import Example

__all__ = ["Case", "Example", "cases", "checks_of", "run_check"]
