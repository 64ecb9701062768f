"""The hook that a plugin implements."""

from __future__ import annotations

import pluggy

from ffcore.plugin.registrar import Registrar

hookspec = pluggy.HookspecMarker("ffcore")


@hookspec
def ffcore_register(registry: Registrar) -> None:
    """Register components, data sets, recipes, report sections and commands.

    Called once, when plugins are loaded. The module of an installed plugin should import no torch: it names
    its classes by ``package.module:Name``, and their options are read off the constructor's source. A plugin
    that is a file, or a notebook, may give the classes themselves.

    >>> from ffcore.plugin import hookimpl
    >>> @hookimpl
    ... def ffcore_register(registry):
    ...     registry.goodness("sum-squares", "my_ff.goodness:SumSquares")
    ...     registry.recipe("mnist/my-ff", "my_ff/recipes/mnist.yaml")

    Args:
        registry: has one method for each sort of component; see `ffcore.plugin.registrar.Registrar`.
    """
