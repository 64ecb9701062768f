"""Default weights of penalties. Does not import torch, since reports read them too."""

from __future__ import annotations

ENTROPY_WEIGHT = {"scale-free": 0.1, "released": 0.01}
"""λ of the entropy penalty, by its form."""
