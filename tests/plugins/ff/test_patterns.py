"""Patterns of classes in a channel of their own."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, dense
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.patterns import LabelChannel, Pattern


def code(shape=(1, 3, 4), classes=5, **options):
    made = Pattern(**options)
    made.labelled = made.setup(Context(shape, classes))
    return made


def test_an_image_gets_a_channel_with_the_pattern_of_its_class():
    labels = code(normalise="none", strength=2.0)
    x = torch.randn(2, 1, 3, 4)
    joined = labels.join(x, labels.code(torch.tensor([4, 0, 1, 1]), 4))
    assert labels.labelled == (2, 3, 4)
    assert torch.equal(joined[:, :1], x.repeat(2, 1, 1, 1))
    for row, y in zip(joined, [4, 0, 1, 1], strict=True):
        torch.testing.assert_close(row[1].flatten(), 2 * labels.patterns[y])


def test_a_row_gets_as_many_values_as_it_has():
    labels = code((6,), normalise="none")
    joined = labels.join(torch.zeros(2, 6), labels.code(torch.tensor([3, 1]), 2))
    assert labels.labelled == (12,)
    torch.testing.assert_close(joined[:, 6:], labels.patterns[[3, 1]])


def test_the_neutral_code_is_the_mean_of_the_patterns():
    labels = code(normalise="none")
    joined = labels.join(torch.zeros(1, 1, 3, 4), labels.code(None, 1))
    torch.testing.assert_close(joined[0, 1].flatten(), labels.patterns.mean(0))


def test_random_patterns_belong_to_the_state_of_a_run():
    assert "patterns" in code().state_dict()
    assert "patterns" not in code(pattern="one-hot").state_dict()


def test_one_hot_codes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="13 classes do not fit into 12 values"):
        code(classes=13, pattern="one-hot")
    with pytest.raises(ValueError, match="needs images"):
        code((3, 4))


def network(body):
    return ffcore.Network(
        [ffcore.LocalBlock(body, "mean-squares", objective="symba")],
        ForwardForward(Pattern("one-hot", normalise="none"), "wrong-label"),
        example=torch.zeros(2, 1, 3, 4),
        classes=5,
    )


def test_a_label_channel_is_the_learned_channel_of_the_class():
    body = LabelChannel((2, 3, 4), nn.Conv2d(2, 3, 3, padding=1))
    net = network(body)
    x, y = torch.randn(4, 1, 3, 4), torch.tensor([1, 4, 0, 2])
    algorithm = net.algorithm
    labelled = dense(algorithm.labels.join(x, algorithm.labels.code(y, 4)))
    right = body.body(torch.cat([x, body.channels[y].view(4, 1, 3, 4)], dim=1))
    torch.testing.assert_close(body(labelled), right)


def test_the_channels_learn_with_the_block():
    body = LabelChannel((2, 3, 4), nn.Conv2d(2, 3, 3, padding=1))
    net = network(body)
    before = body.channels.detach().clone()
    net.learn(torch.randn(4, 1, 3, 4), torch.arange(4), ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
    changed = (body.channels != before).any(1)
    assert changed[:4].all()


def test_another_label_code_is_refused():
    with pytest.raises(UserError, match="label-channel reads another label code; set labels"):
        ffcore.Network(
            [ffcore.LocalBlock(LabelChannel((1, 3, 4), nn.Flatten()), "mean-squares", objective="symba")],
            ForwardForward("overlay", "wrong-label"),
            example=torch.zeros(2, 1, 3, 4),
            classes=5,
        )


def test_a_label_channel_reads_the_first_input_only():
    with pytest.raises(UserError, match="labels enter at the first block"):
        ffcore.Network(
            [
                ffcore.LocalBlock(nn.Conv2d(2, 2, 3, padding=1), "mean-squares", objective="symba"),
                ffcore.LocalBlock(LabelChannel((2, 3, 4), nn.Flatten()), "mean-squares", objective="symba"),
            ],
            ForwardForward(Pattern("one-hot"), "wrong-label"),
            example=torch.zeros(2, 1, 3, 4),
            classes=5,
        )
