"""CAW-Conv and DeeperForward as released: their formulas and names written again in plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ffcore
from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.load import load
from ffcore_channel.released import released_state

WIDTHS, K, N, SHAPE = (6, 12, 24, 48), 3, 8, (3, 16, 16)
RATE, DECAY, EPOCH = 0.08, 5e-4, 7
CAW = "cifar10/channel-resnet17-released"


class Layer(nn.Module):
    """A convolution with the names of the released code; CAW-Conv's if it has an assignment."""

    def __init__(self, into: int, out: int, stride: int, assigned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, stride, 1, bias=False)
        self.assigned = assigned
        if assigned:
            self.class_channel_weights = nn.Parameter(torch.full((out, K), 0.5))
            self.log_temperature = nn.Parameter(torch.tensor(math.log(10)))

    def shares(self, epoch: int) -> Tensor:
        temperature = self.log_temperature.exp().clamp(0.1, 100) * 0.995**epoch
        return (self.class_channel_weights / temperature).softmax(1)

    def forward(self, x: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        h = self.conv(x).relu()
        if not self.assigned:
            return F.group_norm(h, K), h.unflatten(1, (K, -1)).mean((2, 3, 4))
        response = 0.94 * h.mean((2, 3)) + 0.06 * h.amax((2, 3)) - 0.05 * h.amin((2, 3))
        return F.instance_norm(h), response @ self.shares(epoch)

    def penalty(self, epoch: int) -> Tensor:
        shares = self.shares(epoch)
        entropy = -(shares * (shares + 1e-10).log()).sum(0).mean()
        columns = shares / (shares.norm(dim=0, keepdim=True) + 1e-10)
        overlap = (columns.T @ columns - torch.eye(K).to(shares)).square().mean() / (K**2 * len(shares))
        return 1e-2 * entropy + 1e-3 * overlap * min(1, epoch / 50)


class Net(nn.Module):
    """ResNet-17: in each stage the second layer adds, the fourth concatenates the shortcut as the last."""

    def __init__(self, assigned: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(SHAPE[0], WIDTHS[0], 1, assigned)])
        for stage, width in enumerate(WIDTHS):
            for i in range(4):
                self.layers.append(Layer(width, width, 2 if stage and not i else 1, assigned))
        self.register_buffer("start_layer", torch.tensor(2, dtype=torch.int))
        self.register_buffer("end_layer", torch.tensor(14, dtype=torch.int))

    def forward(self, x: Tensor, epoch: int = 0, learn=None) -> Tensor:
        x, scores = F.layer_norm(x, x.shape[1:]), []
        shortcut = x
        for i, layer in enumerate(self.layers):
            x, g = layer(x.detach(), epoch)
            scores.append(g)
            if learn is not None:
                learn(i, g)
            x, place = x.detach(), (i - 1) % 4
            if i and place == 1:
                x = x + shortcut
            elif i and place == 3:
                x = torch.cat([x, shortcut], 1)
            if not i or place == 1:
                shortcut = x
            elif place == 3:
                shortcut = F.avg_pool2d(x, 2)
        return torch.stack(scores)


def network(recipe: str = CAW, **overrides: object) -> ffcore.Network:
    return ffcore.from_recipe(recipe, SHAPE, K, **{"network.0.widths": list(WIDTHS), **overrides})


def made_up(net: Net) -> Net:
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
    return net.eval()


def images(step: int = 0) -> Tensor:
    return torch.randn(N, *SHAPE, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def test_two_steps_of_resnet17_are_those_of_the_released_code() -> None:
    recipe = load(CAW, [f"network.0.widths={list(WIDTHS)}", "network.0.dropout=0"])
    module = assemble(recipe, SHAPE, K).double()
    theirs = Net().double()
    blocks = [block for block in module.network.blocks if block.goodness is not None]
    for layer, block in zip(theirs.layers, blocks, strict=True):
        assert torch.equal(block.goodness.logits, layer.class_channel_weights)
        assert block.goodness.log_temperature.item() == pytest.approx(math.log(10))
    # Not from the constant start: its first gradient of a convolution is rounding, which AdamW makes large.
    module.net.load_state_dict(released_state(made_up(theirs).state_dict(), module.net, epoch=EPOCH))
    module.configure_optimizers()
    steppers = [torch.optim.AdamW(x.parameters(), lr=RATE, weight_decay=DECAY) for x in theirs.layers]
    y = torch.arange(N) % K
    for step in range(2):
        for block in blocks:  # as in epoch 7
            block.goodness.cooled.fill_(0.995**EPOCH)
            block.loss.penalties["orthogonality"].warmth.fill_(EPOCH / 50)

        def learn(i: int, g: Tensor) -> None:
            layer = theirs.layers[i]
            steppers[i].zero_grad()
            (F.cross_entropy(g, y, label_smoothing=0.1) + layer.penalty(EPOCH)).backward()
            nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
            steppers[i].step()

        rng = BatchRNG(1, step, 0, N, N)
        module.algorithm.learn(Batch(images(step), y, torch.arange(N), 0, N, rng), module.network)
        theirs(images(step), EPOCH, learn)
    close = {"rtol": 0, "atol": 1e-8}  # AdamW divides rounding errors by gradients that are almost zero
    for layer, block in zip(theirs.layers, blocks, strict=True):
        torch.testing.assert_close(block.body.conv.weight, layer.conv.weight, **close)
        torch.testing.assert_close(block.goodness.logits, layer.class_channel_weights, **close)
        torch.testing.assert_close(block.goodness.log_temperature, layer.log_temperature, **close)


def test_weights_of_caw_give_the_scores_of_its_layers() -> None:
    theirs, ours = made_up(Net().double()), network().double()
    ours.load_state_dict(released_state(theirs.state_dict(), ours, epoch=149))
    torch.testing.assert_close(ours.evidence(images()), theirs(images(), 149).detach())


def test_weights_of_deeperforward_give_the_sum_of_its_best_layers() -> None:
    theirs = made_up(Net(assigned=False).double())
    ours = network("cifar10/deeperforward", **{"network.0.shortcut": "last"}).double()
    ours.load_state_dict(released_state(theirs.state_dict(), ours))
    scores = theirs(images()).detach()
    torch.testing.assert_close(ours.evidence(images()), scores)
    torch.testing.assert_close(ours.scores(images()), scores[2:15].sum(0))


def test_layers_behind_a_pooling_are_found() -> None:
    ours = ffcore.from_recipe("mnist/channel-tinycnn", (1, 12, 12), K, **{"network.0.widths": [3, 6, 9, 9]})
    theirs = {}
    for prefix, weight in (
        ("layers.0", (3, 1, 5, 5)),
        ("layers.1.1", (6, 3, 5, 5)),
        ("layers.2.1", (9, 6, 3, 3)),
        ("layers.3", (9, 9, 3, 3)),
    ):
        theirs[f"{prefix}.conv.weight"] = torch.randn(weight)
        theirs[f"{prefix}.class_channel_weights"] = torch.randn(weight[0], K)
        theirs[f"{prefix}.log_temperature"] = torch.tensor(2.0)
    state = released_state(theirs, ours, epoch=149)
    ours.load_state_dict(state)
    convolutions = [block.body.conv for block in ours.blocks if block.goodness is not None]
    assert torch.equal(convolutions[2].weight, theirs["layers.2.1.conv.weight"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers.3.bias": torch.zeros(1)}, "unknown name 'layers.3.bias'"),
        ({"layers.17.conv.weight": torch.zeros(1)}, "18 convolutions, but the network has 17 blocks"),
        ({"layers.3.conv.weight": torch.zeros(1)}, r"layers.3: conv.weight is \(1,\), that of block"),
        ({"layers.3.log_temperature": None}, "layers.3 has class_channel_weights, conv.weight; block"),
    ],
)
def test_weights_that_do_not_fit_are_refused(changed: dict[str, Tensor | None], message: str) -> None:
    state = {**Net().state_dict(), **changed}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(UserError, match=message):
        released_state(state, network(), epoch=149)


def test_another_network_or_a_missing_epoch_is_refused() -> None:
    state = Net().state_dict()
    with pytest.raises(UserError, match="epoch: the temperature depends on it"):
        released_state(state, network())
    with pytest.raises(UserError, match="use shortcut: last"):
        released_state(state, network(**{"network.0.shortcut": "first"}), epoch=149)
    places = {"start_layer": torch.tensor(4), "end_layer": torch.tensor(40)}
    wrong = {**Net(assigned=False).state_dict(), **places}
    with pytest.raises(UserError, match="layers 4 to 40 of 17"):
        released_state(wrong, network("cifar10/deeperforward", **{"network.0.shortcut": "last"}))
