"""Results of turns that ranks cannot send are an error in one process too."""

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import Turns


class Named(nn.Module):
    name = "layer1"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (torch.zeros(2, dtype=torch.complex64), r"a tensor \(2,\) of complex64"),
        (torch.zeros(2, 1, 1, 1, 1, 1, 3), r"a tensor \(2, 1, 1, 1, 1, 1, 3\) of float32"),
        (torch.zeros(2, 3).to_sparse(), r"a tensor \(2, 3\) of float32 that is sparse_coo"),
        (None, "a NoneType"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_name_of_the_block(made, words):
    with pytest.raises(UserError, match=f"the turn of block layer1 returned {words}"):
        Turns().shared((Named(), lambda: made))
