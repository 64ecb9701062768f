"""Measures the memory of tensors that autograd saves for backward, which local learning reduces."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Kept:
    """Number of bytes that autograd has saved for backward.

    Each storage counts once, also if several nodes of the graph save it: a ReLU and the linear layer after it
    save the same activity.

    Attributes:
        now: current number of bytes.
        most: largest number of bytes so far.
    """

    def __init__(self, own: Iterable[Tensor]) -> None:
        self.now = self.most = 0
        # By address of the storage, so that views count as their base.
        self._own = {t.untyped_storage().data_ptr() for t in own}
        self._holders: Counter[int] = Counter()

    def pack(self, t: Tensor) -> object:
        """Count a tensor that autograd saves."""
        storage = t.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._own:
            return t
        if not self._holders[place]:
            self.now += size
            self.most = max(self.most, self.now)
        self._holders[place] += 1
        # autograd drops the holder with its node; the finalizer then frees the count
        holder = _Holder(t)
        weakref.finalize(holder, self._free, place, size)
        return holder

    @staticmethod
    def unpack(kept: object) -> Tensor:
        """Return the saved tensor, for backward."""
        tensor = kept.t if isinstance(kept, _Holder) else kept
        assert isinstance(tensor, Tensor)
        return tensor

    def _free(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            self.now -= size


class _Holder:
    def __init__(self, t: Tensor) -> None:
        self.t = t


@contextmanager
def kept_for_backward(parameters: Iterable[Tensor] = ()) -> Iterator[Kept]:
    """Count the bytes that autograd saves in forward passes within the context.

    Args:
        parameters: tensors that do not count, since they exist anyway.
    """
    kept = Kept(parameters)
    with saved_tensors_hooks(kept.pack, kept.unpack):
        yield kept
