"""The contract of encodings: how what a user stores becomes arrays of inputs. N samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np


class Encoding(ABC):
    """An encoding, made of the training samples and stored with the run, for other samples later.

    Attributes:
        classes: names of the classes in training; None if targets are something else.
    """

    classes: tuple[str, ...] | None

    @abstractmethod
    def takes(self, x: Any) -> bool:
        """Return whether samples are to be encoded, such as a data frame; arrays are inputs already."""

    @abstractmethod
    def encoded(self, what: Any, x: Any) -> np.ndarray:
        """Return samples as inputs (N, ...).

        Args:
            what: a name for messages, such as the path of a file.
            x: samples that `takes` has accepted.

        Raises:
            UserError: they do not fit those of training.
        """

    @abstractmethod
    def of_file(self, path: Path) -> np.ndarray:
        """Return the inputs (N, ...) of a file of samples, which needs no targets.

        Raises:
            UserError: the file cannot be read, or its samples do not fit those of training.
        """
