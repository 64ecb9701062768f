"""scikit-learn's handwritten digits: a small data set that needs no download."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.data.split import stratified


class Digits(Dataset):
    """1,797 digits of 8x8 pixels in 17 shades (0..16), ten classes.

    The data set has no official test split. Here it has 360 samples (20 %), stratified by class and always
    the same; 1,437 samples remain for training.

    Reference: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI 1998; scikit-learn
    has the 1,797 samples of its test part.
    """

    def peek(self) -> tuple[tuple[int, ...], int]:
        """Returns one channel of 8×8 pixels, ten classes."""
        return (1, 8, 8), 10

    def load(self) -> ImageSet:
        """Read the data set from the scikit-learn installation."""
        from sklearn.datasets import load_digits

        raw = load_digits()
        whole = Split(raw.images[:, None].astype(np.uint8), raw.target.astype(np.int64))
        train, test = stratified(whole, count=360, seed=0)
        return ImageSet(
            name="digits",
            train=train,
            test=test,
            classes=tuple("0123456789"),
            scale=1 / 16,
            provenance={"sklearn.datasets.load_digits": f"scikit-learn {version('scikit-learn')}"},
        )
