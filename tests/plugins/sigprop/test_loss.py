"""The losses of signal propagation, beside the authors' formulas with one target for each sample."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, Out, Views
from ffcore_sigprop.loss import SignalLoss
from ffcore_sigprop.similarity import SignalSimilarity

N, K, D = 12, 4, 6
Y = torch.tensor([0, 1, 1, 3, 0, 0, 1, 3, 3, 0, 1, 1])  # no sample of class 2


def authors(version, h, t, t_in, top=4):
    """Kohan et al. 2023 with N targets t[y], of the incoming targets t_in[y]: similarities are (N, N)."""
    if version == "v1":
        return F.cross_entropy(h @ t.T, Y)
    s = h @ t[Y].T
    incoming = t_in[Y] @ t_in[Y].T
    if version == "v14":
        return F.cross_entropy(s, incoming.argmax(1))
    if version == "v9":
        mask = (incoming == incoming.amax(1, keepdim=True)).to(s.dtype)
    else:
        mask = torch.zeros_like(s).scatter(1, incoming.topk(top, dim=1).indices, 1.0)
    return (-mask * s.log_softmax(1)).sum(1).mean()


def ours(version, h, t, t_in):
    views = Views(torch.cat([torch.zeros(N, D), t_in]), ("all", "targets"), (N, K), y=Y)
    rows, goodness = torch.cat([h, t]), SignalSimilarity()
    goodness.setup(Context((D,), K))
    loss = SignalLoss(version)
    loss.setup(Context((D,), K, goodness=goodness))
    return loss(Out(rows, rows, goodness(rows, views), (views.x.to(t.dtype),)), None, views)["objective"]


DRAWN = torch.randn(K, D, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("version", "t_in"),
    # of the first layer, and of a later one; the largest four of v15 are not unique for one-hot targets
    [*((v, torch.eye(K, D)) for v in ("v1", "v9", "v14")), *((v, DRAWN) for v in ("v1", "v9", "v14", "v15"))],
)
def test_k_targets_give_the_loss_and_the_gradients_of_n_targets(version, t_in):
    h, t = (torch.randn(n, D, dtype=torch.float64, requires_grad=True) for n in (N, K))
    one, other = ours(version, h, t, t_in.double()), authors(version, h, t, t_in.double())
    torch.testing.assert_close(one, other)
    for mine, right in zip(torch.autograd.grad(one, (h, t)), torch.autograd.grad(other, (h, t)), strict=True):
        torch.testing.assert_close(mine, right)


def test_the_similarity_of_images_is_a_mean_over_positions():
    activity = torch.randn(5, 3, 2, 2)
    views = Views(activity, ("all", "targets"), (3, 2))
    made = SignalSimilarity()(activity, views)
    right = torch.einsum("nchw,mchw->nmhw", activity[:3], activity[3:]).mean((2, 3))
    torch.testing.assert_close(made[:3], right)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_under_autocast_similarities_keep_the_digits_that_tell_classes_apart(kind):
    activity = torch.rand(6, 300).to(kind)
    views = Views(activity, ("all", "targets"), (4, 2))
    with torch.autocast("cpu", torch.bfloat16):
        made = SignalSimilarity()(activity, views)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, activity.float() @ activity[4:].float().T)
    goodness = SignalSimilarity()
    goodness.setup(Context((300,), K))
    assert goodness(activity).dtype == torch.float32  # of a pass without targets


@pytest.mark.parametrize("version", ["v1", "v9"])
def test_a_step_equals_the_two_streams_of_the_paper_written_a_second_time(version):
    """h₁ = f(h₀) and t₁ = f(t₀) in two calls, then the step; both are handed on from before it."""
    torch.manual_seed(0)
    x = torch.randn(N, D)
    layers = [nn.Sequential(nn.Linear(D, 5), nn.Tanh()), nn.Sequential(nn.Linear(5, 5), nn.Tanh())]
    blocks = [
        ffcore.LocalBlock(layer, SignalSimilarity(), loss=SignalLoss(version), handoff="rms")
        for layer in [nn.Sequential(*map(copied, layer)) for layer in layers]
    ]
    net = ffcore.Network(blocks, {"kind": "signal-propagation", "output": False}, example=x[:2], classes=K)
    net.learn(x, Y, ffcore.optimizers(net, torch.optim.SGD, lr=0.5))

    h, t = x, torch.eye(K, D)
    for layer, block in zip(layers, blocks, strict=True):
        made, targets = layer(h), layer(t)
        loss = authors(version, made, targets, t)
        gradients = torch.autograd.grad(loss, list(layer.parameters()))
        with torch.no_grad():
            h, t = (z / z.square().mean(1, keepdim=True).sqrt() for z in (made, targets))
            for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
                parameter.sub_(0.5 * gradient)
        for mine, right in zip(block.body.parameters(), layer.parameters(), strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-6, atol=1e-6)


def copied(layer):
    if isinstance(layer, nn.Linear):
        twin = nn.Linear(layer.in_features, layer.out_features)
        twin.load_state_dict(layer.state_dict())
        return twin
    return layer


def test_a_sample_with_fewer_values_than_classes_is_refused():
    block = ffcore.LocalBlock(nn.Linear(3, 5), SignalSimilarity(), loss=SignalLoss())
    with pytest.raises((UserError, ValueError), match=r"\(3,\) has fewer values than there are classes, 10"):
        ffcore.Network([block], "signal-propagation", example=torch.randn(2, 3), classes=10)


def test_the_loss_needs_class_goodness():
    block = ffcore.LocalBlock(nn.Linear(12, 5), "sum-squares", loss=SignalLoss())
    with pytest.raises(UserError, match="needs the goodness signal-similarity"):
        ffcore.Network([block], "signal-propagation", example=torch.randn(2, 12), classes=10)


def test_batch_norm_is_warned_of():
    body = nn.Sequential(nn.Linear(12, 5), nn.BatchNorm1d(5))
    block = ffcore.LocalBlock(body, SignalSimilarity(), loss=SignalLoss(), name="layer")
    with pytest.warns(UserWarning, match="block layer has batch norm, whose running statistics mix"):
        ffcore.Network([block], "signal-propagation", example=torch.randn(2, 12), classes=10)
