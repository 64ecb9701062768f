"""Black boxes.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.blackbox("sign", "ffcore_blackbox.codes:Sign")
    registry.blackbox("step", "ffcore_blackbox.codes:Step")
    registry.blackbox("quantise", "ffcore_blackbox.codes:Quantise")
    registry.blackbox("winner-take-all", "ffcore_blackbox.codes:WinnerTakeAll")
    registry.blackbox("look-up", "ffcore_blackbox.codes:LookUp")
    registry.blackbox("function", "ffcore_blackbox.callables:Function")
    registry.blackbox("array-function", "ffcore_blackbox.callables:ArrayFunction")
    registry.blackbox("sklearn", "ffcore_blackbox.estimator:Estimator")
    registry.blackbox("onnx", "ffcore_blackbox.onnx:Onnx")
    registry.blackbox("process", "ffcore_blackbox.process:Process")
    registry.blackbox("http", "ffcore_blackbox.http:Http")
    registry.blackbox("cached", "ffcore_blackbox.wrappers:Cached")
    registry.blackbox("patient", "ffcore_blackbox.wrappers:Patient")
    registry.blackbox("crossbar", "ffcore_blackbox.crossbar:Crossbar")
    registry.blackbox("shortest-path", "ffcore_blackbox.paths:ShortestPath")
    registry.blackbox("alignment", "ffcore_blackbox.alignment:Alignment")
    registry.penalty("structured-perceptron", "ffcore_blackbox.structured:StructuredPerceptron")
    registry.dataset("digit-maps", "ffcore_blackbox.paths:DigitMaps")
    registry.dataset("warped-digits", "ffcore_blackbox.alignment:WarpedDigits")
