"""Self-contrastive Forward-Forward beside pairs that are concatenated, as the paper writes them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, Out, Views
from ffcore_hebbian.self_contrastive import PARTNERS, SelfContrastive, SelfContrastiveLoss, Triangle


def through(layer, pairs):
    """Both halves of concatenated pairs through the same weights, summed."""
    first, second = pairs.chunk(2, dim=1)
    return layer(first) + layer(second)


def of_pairs(layer, x, partners, positive, negative, penalty):
    good = F.relu(through(layer, torch.cat([x, x], 1))).pow(2).mean(1)
    bad = [F.relu(through(layer, torch.cat([x, x[p]], 1))).pow(2).mean(1) for p in partners.T]
    return (
        torch.log(1 + torch.exp(positive - good)).mean()
        + torch.log(1 + torch.exp(torch.stack(bad) - negative)).mean()
        + penalty * good.view(len(x), -1).square().sum(1).sqrt().mean()
    )


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv2d(3, 6, 3, padding=1), (3, 5, 5)), (nn.Linear(7, 6), (7,))]
)
def test_the_loss_and_its_gradient_are_those_of_concatenated_pairs(layer, shape):
    layer = layer.double()
    x = torch.randn(4, *shape, dtype=torch.float64)
    partners = torch.tensor([[1, 2], [3, 0], [0, 1], [2, 2]])
    views = Views(x, ("all",), (4,), extra={PARTNERS: partners})
    loss = SelfContrastiveLoss(positive=1.5, negative=0.4, penalty=0.01)
    terms = loss(Out(layer(x), layer(x), None), None, views)
    right = of_pairs(layer, x, partners, 1.5, 0.4, 0.01)
    torch.testing.assert_close(sum(terms.values()), right)
    for ours, theirs in zip(
        torch.autograd.grad(sum(terms.values()), layer.parameters()),
        torch.autograd.grad(right, layer.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def drawn(rows, first=0, total=None, partners=3, step=5):
    batch = Batch(torch.zeros(rows, 2), torch.zeros(rows, dtype=torch.int64), torch.arange(rows), 0, rows)
    batch.rng = BatchRNG(1, step, first, rows, total or rows)
    return SelfContrastive(partners).views(batch, None).extra[PARTNERS]


def test_no_sample_is_its_own_partner_and_every_other_one_can_be():
    partners = drawn(6, partners=400)
    for sample, of_sample in enumerate(partners):
        assert sorted(set(of_sample.tolist())) == [n for n in range(6) if n != sample]


def test_two_ranks_draw_the_partners_of_one():
    assert torch.equal(torch.cat([drawn(4, 0, 7), drawn(3, 4, 7)]), drawn(7))


def test_batches_of_one_are_refused_in_the_first_step():
    with pytest.raises(UserError, match="a batch of one sample has no negative pairs; use larger batches"):
        drawn(1, step=0)


def test_a_single_sample_that_is_left_over_has_no_negative_pairs():
    views = Views(torch.zeros(1, 2), ("all",), (1,), extra={PARTNERS: drawn(1)})
    terms = SelfContrastiveLoss()(Out(torch.ones(1, 6), torch.ones(1, 6), None), None, views)
    assert {name: term.item() for name, term in terms.items()} == {
        "positive": pytest.approx(0.0486, abs=1e-4)
    }


def test_another_algorithm_is_refused():
    out = Out(torch.randn(4, 6), torch.randn(4, 6), None)
    with pytest.raises(UserError, match="use the algorithm self-contrastive"):
        SelfContrastiveLoss()(out, None, Views(torch.randn(4, 3), ("all",), (4,)))


def test_triangle_hands_on_what_exceeds_the_mean_channel():
    h = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [5.0, 3.0]]])
    assert Triangle()(h).tolist() == [[[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]]


def test_a_layer_learns_to_tell_pairs_apart_without_labels():
    torch.manual_seed(0)
    net = ffcore.Network(
        [ffcore.LocalBlock(nn.Linear(10, 30), loss=SelfContrastiveLoss(1.0, 1.0), handoff=Triangle())],
        SelfContrastive(),
        example=torch.zeros(2, 10),
        classes=3,
        readouts={"linear": "softmax"},
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=0.01)
    x = F.normalize(torch.randn(60, 10)) * 3
    first = net.learn(x, torch.zeros(60, dtype=torch.int64), optimizers)["block1"]
    for _ in range(60):
        last = net.learn(x, torch.zeros(60, dtype=torch.int64), optimizers)["block1"]
    assert last < 0.8 * first


def test_a_block_with_this_loss_is_read_by_readouts_and_probes():
    net = ffcore.Network(
        [ffcore.LocalBlock(nn.Linear(10, 30), loss=SelfContrastiveLoss(), handoff=Triangle(), name="layer")],
        SelfContrastive(),
        example=torch.zeros(2, 10),
        classes=3,
        readouts={"linear": "softmax"},
    )
    (block,) = net.local.blocks
    assert not block.info.auxiliary
    assert [[b.name for b in blocks] for blocks in net.local.taps.values()] == [["layer"]]
