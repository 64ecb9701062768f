"""How much autograd keeps for backward: what local learning is to save."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


class Kept:
    """Bytes of memory that autograd holds on to.

    Each piece of memory counts once, however many nodes of the graph keep a tensor in it: a ReLU and the
    linear layer after it keep the same activity.

    Attributes:
        now: bytes at this moment.
        most: largest number of bytes so far.
    """

    def __init__(self, own: Iterable[Tensor]) -> None:
        self.now = self.most = 0
        self._own = {t.untyped_storage().data_ptr() for t in own}
        self._holders: Counter[int] = Counter()

    def pack(self, t: Tensor) -> object:
        """A tensor is to be kept."""
        storage = t.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._own:
            return t
        if not self._holders[place]:
            self.now += size
            self.most = max(self.most, self.now)
        self._holders[place] += 1
        holder = _Holder(t)
        weakref.finalize(holder, self._free, place, size)
        return holder

    @staticmethod
    def unpack(kept: object) -> Tensor:
        """It is used."""
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
    """Count what autograd keeps of the forward passes within.

    Args:
        parameters: tensors that are there anyway and do not count.
    """
    kept = Kept(parameters)
    with saved_tensors_hooks(kept.pack, kept.unpack):
        yield kept
