import pytest
import torch
from torch import nn

from ffcore.interfaces import Context
from ffcore_local.heads import LinearHead
from ffcore_sequence.bodies import GRU, Attention, Conv1d, Embedding
from ffcore_std.pointwise import Pointwise


def test_an_embedding_adds_vectors_of_token_and_position():
    body = Embedding((3,), tokens=5, units=4)
    h = body(torch.tensor([[4, 0, 4]]))
    torch.testing.assert_close(h[0, 2] - h[0, 0], body.position[2] - body.position[0])
    torch.testing.assert_close(h[0, 1], body.token.weight[0] + body.position[1])


def test_a_token_outside_the_vocabulary_is_named():
    with pytest.raises(ValueError, match="run from 0 to 5, but tokens is 5; they should be 0 to 4"):
        Embedding((2,), tokens=5, units=4)(torch.tensor([[0, 5]]))


def test_attention_is_that_of_torch():
    body, x = Attention((6, 8), heads=2, factor=3, causal=True), torch.randn(4, 6, 8)
    other = nn.TransformerEncoderLayer(
        8, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    other.self_attn.in_proj_weight, other.self_attn.in_proj_bias = body.queries.weight, body.queries.bias
    other.self_attn.out_proj, other.linear1, other.linear2 = body.out, body.up, body.down
    other.norm1, other.norm2 = body.first, body.second
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    torch.testing.assert_close(body(x), other(x, mask, is_causal=True), rtol=1e-5, atol=1e-5)


def test_a_causal_block_does_not_see_later_tokens():
    body, x = Attention((6, 8), heads=2, causal=True), torch.randn(4, 6, 8)
    other = x.clone()
    other[:, 4:] *= -1
    torch.testing.assert_close(body(x)[:, :4], body(other)[:, :4])
    free = Attention((6, 8), heads=2)
    assert (free(x)[:, :4] - free(other)[:, :4]).abs().max() > 1e-3


def test_outputs_of_sequences_have_a_row_for_each_token():
    x = torch.randn(2, 6, 8)
    assert GRU((6, 8), 5)(x).shape == (2, 6, 5)
    assert Conv1d((6, 8), 5)(x).shape == (2, 6, 5)
    assert Conv1d((6, 8), 5, stride=2)(x).shape == (2, 3, 5)
    assert Pointwise((6, 8), 5)(x).shape == (2, 6, 5)
    assert Pointwise((6, 8), 5, features=0)(x).shape == (2, 5, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedding((3, 4), 6, 5), "needs sequences of tokens"),
        (lambda: Attention((6, 8), heads=3), "3 do not divide the 8 features"),
        (lambda: Attention((6,)), "needs tokens"),
        (lambda: GRU((6,), 3), "needs sequences"),
        (lambda: Conv1d((6, 8), 3, kernel=2), "is even"),
        (lambda: Pointwise((6,), 3), "has no positions"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing_at_the_other_tokens(causal):
    """A short sequence alone gives the same vectors, and the same scores, as with padding behind it."""
    torch.manual_seed(0)
    embedding = Embedding((8,), units=8, tokens=10, padding=0)
    bodies = [
        Attention((8, 8), heads=2, causal=causal, padding=True),
        GRU((8, 8), units=6, padding=True),
        Conv1d((8, 6), units=5, padding=True),
    ]
    head = LinearHead(dim=-1, init="uniform", padding=True)
    head.setup(Context((8, 5), 3))
    tokens = torch.randint(1, 10, (4, 5))
    padded = torch.nn.functional.pad(tokens, (0, 3))
    alone, behind = embedding(tokens), embedding(padded)
    for body in bodies:
        alone, behind = body(alone), body(behind)
        torch.testing.assert_close(behind[:, :5], alone)
        assert not behind[:, 5:].any()
    torch.testing.assert_close(head(behind), head(alone))
    assert embedding(torch.zeros(1, 8).long()).abs().max() == 0
    assert bodies[0](torch.zeros(2, 8, 8)).isfinite().all()


def test_a_padding_outside_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="padding: 10 is not one of the 10 tokens 0 to 9"):
        Embedding((8,), units=8, tokens=10, padding=10)


def test_a_convolution_reads_signals_with_their_features_first():
    x = torch.randn(4, 2, 9)
    signals, tokens = Conv1d((2, 9), units=5, dim=0), Conv1d((9, 2), units=5)
    tokens.load_state_dict(signals.state_dict())
    torch.testing.assert_close(signals(x), tokens(x.transpose(1, 2)))
    with pytest.raises(ValueError, match="a sequence of 2 tokens with 9 features is shorter than kernel: 3"):
        Conv1d((2, 9), units=5)
