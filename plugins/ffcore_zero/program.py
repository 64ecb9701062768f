"""A layer inside an external program, which offers two operations: set weights, and run.

A call sends two frames (`ffcore_blackbox.frames`) and reads one:

    weights (U, D), or an empty frame (0,) if they are those of the call before
    rows (R, D)
    answer (R, U)

R rows; D inputs; U outputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.errors import RunError
from ffcore.interfaces import dense
from ffcore.local.box_use import Caller
from ffcore.options import Positive, Seconds, Size
from ffcore_blackbox import frames
from ffcore_blackbox.arrays import array
from ffcore_blackbox.process import Conversation

_SAME = frames.encoded(np.zeros(0, np.float32))


class Program(nn.Module, Caller):
    """Layer whose products are computed by a program that holds the weights: hardware, a simulator.

    What the program makes of its weights is unknown, and it has no derivative. Only a rule that needs none,
    such as `directional`, learns inside it. There is no activation: use the handoff `relu`. The program
    starts at the first call, and ends with the run or with this process. Results of a run count its calls and
    rows, and how often weights were sent.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of outputs U.
        command: the program and its arguments, as a list or as one line; ``{python}`` is replaced by the
            current Python.
        scale: standard deviation of an initial weight, times √D.
        timeout: seconds to wait for an answer.
        derivative: "none", or "ideal": that of x Wᵀ, as for `crossbar`.
    """

    examples = ({"units": 6, "command": ["{python}", "-m", "ffcore_zero.device"], "derivative": "ideal"},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        command: Sequence[str] | str,
        scale: Positive = 1.0,
        timeout: Seconds = 30.0,
        derivative: Literal["none", "ideal"] = "none",
    ) -> None:
        super().__init__()
        self.derivative = derivative
        inputs = math.prod(in_shape)
        self.conversation = Conversation(command, timeout)
        self.weight = nn.Parameter(scale * torch.randn(units, inputs) / math.sqrt(inputs))
        self.use = {}
        self._sent = np.zeros(0, np.float32)  # the weights of the call before

    def forward(self, x: Tensor) -> Tensor:
        """(R, *in_shape) → (R, U).

        Raises:
            RunError: when the program fails, or answers with another shape.
        """
        rows = dense(x).flatten(1)
        made = self._asked(array(self.weight.float()), array(rows.float()))
        if made.shape != (len(rows), len(self.weight)):
            wanted = (len(rows), len(self.weight))
            raise RunError(
                f"the program {self.conversation.command[0]!r} answered {made.shape}, not {wanted}"
            )
        answer = torch.tensor(made).to(rows)
        if self.derivative == "none":
            return answer
        ideal = F.linear(rows, self.weight.to(rows.dtype))
        return answer + (ideal - ideal.detach())

    def _asked(self, weight: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with self.conversation.turn:
            began = time.perf_counter()
            same = self.conversation.child is not None and np.array_equal(weight, self._sent)
            made = self.conversation.ask((_SAME if same else frames.encoded(weight)) + frames.encoded(rows))
            self._sent = weight
            self.count(len(rows), began, {} if same else {"sets of weights": 1})
            return made

    def close(self) -> None:
        """End the program; the next call starts a new one."""
        self.conversation.close()
