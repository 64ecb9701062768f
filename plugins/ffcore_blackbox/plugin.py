"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.register import Register
from ffcore_blackbox import configs


@hookimpl
def ffcore_register_blackboxes(register: Register) -> None:
    """Codes, functions, and things that live elsewhere."""
    register("sign", "ffcore_blackbox.codes:Sign", configs.Threshold, "−1, 0 or 1")
    register("step", "ffcore_blackbox.codes:Step", configs.Threshold, "0 or 1")
    register("quantise", "ffcore_blackbox.codes:Quantise", configs.Quantise, "the nearest of 2^bits values")
    register(
        "winner-take-all",
        "ffcore_blackbox.codes:WinnerTakeAll",
        configs.WinnerTakeAll,
        "1 for the largest of each group",
    )
    register("look-up", "ffcore_blackbox.codes:LookUp", configs.LookUp, "a table's entry for each unit's bin")
    register("function", "ffcore_blackbox.callables:Function", configs.Function, "a function of tensors")
    register(
        "array-function",
        "ffcore_blackbox.callables:ArrayFunction",
        configs.ArrayFunction,
        "a function of NumPy arrays",
    )
    register(
        "sklearn", "ffcore_blackbox.estimator:Estimator", configs.Estimator, "a transformer of scikit-learn's"
    )
    register("onnx", "ffcore_blackbox.onnx:Onnx", configs.Onnx, "a model run by ONNX Runtime")
    register(
        "process", "ffcore_blackbox.process:Process", configs.Process, "a program that answers on its output"
    )
    register(
        "crossbar", "ffcore_blackbox.crossbar:Crossbar", configs.Crossbar, "a linear layer of faulty hardware"
    )
