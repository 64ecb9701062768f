"""A sample without another sample in its batch: the last one of an epoch, left over.

Its negative is made from the sample itself. Batches of one from the start are refused.
"""

from __future__ import annotations

from ffcore.errors import UserError
from ffcore.interfaces import BatchRNG


def is_alone(samples: int, rng: BatchRNG, negative: str) -> bool:
    """Return whether the global batch is a single sample that is left over.

    Args:
        samples: samples of the global batch, N.
        rng: random numbers of the batch.
        negative: the kind of the negatives, for the message.

    Raises:
        UserError: when the first batch has one sample.
    """
    if samples == 1 and rng.step == 0:
        raise UserError(
            f"negatives {negative}: a batch of one sample has no other sample; use larger batches"
        )
    return samples == 1
