"""NoProp.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("noprop", "ffcore_noprop.algorithm:NoProp")
    registry.circuit("denoisers", "ffcore_noprop.circuit:Denoisers")
    registry.loss("denoising", "ffcore_noprop.loss:Denoising")
    registry.body("denoising-chain", "ffcore_noprop.chain:DenoisingChain")
