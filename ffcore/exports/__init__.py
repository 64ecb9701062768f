"""Exports of networks and of learning steps: to ONNX, to torch's exported programs, and to C99."""

from __future__ import annotations

from ffcore.exports.export import export
from ffcore.exports.training import Training

__all__ = ["Training", "export"]
