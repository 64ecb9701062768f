import pytest
import torch

from ffcore.interfaces import Context, Out, Views
from ffcore.tasks import PixelClassification, TokenClassification
from ffcore_local.similarity import Similarity, deviations, similarity


def views(y):
    y = torch.tensor(y)
    return Views(torch.zeros(len(y), 1), ("all",), (len(y),), y=y)


def bound(shape, classes=2, task=None, **options):
    made = Similarity(**options)
    made.setup(Context(shape, classes, name="conv1", task=task))
    return made


def test_the_loss_of_two_dense_samples_by_hand():
    """Centred they are (−1, 1)/√2 and (1, −1)/√2: S = −1 between them, 1 with themselves."""
    h = torch.tensor([[0.0, 2.0], [5.0, 1.0]])
    out = Out(h, h, None)
    penalty = bound((2,), weight=0.5, kernel=None)
    assert penalty(out, None, views([0, 1])) == pytest.approx(0.0, abs=1e-6)  # T = −1/(K − 1) = −1
    # of one class T = 1 everywhere; two of four entries are wrong by 2
    assert penalty(out, None, views([1, 1])) == pytest.approx(0.5 * 2 * 4 / 4)


def test_the_target_is_the_similarity_of_one_hot_vectors():
    y = torch.tensor([0, 1, 2, 2, 0])
    penalty = bound((3,), classes=3, weight=1.0, kernel=None)
    h = torch.nn.functional.one_hot(y, 3).float()
    torch.testing.assert_close(penalty(Out(h, h, None), None, views(y.tolist())), torch.tensor(0.0))


def test_positions_with_a_class_are_compared_as_samples():
    h, y = torch.randn(2, 3, 4), torch.tensor([[0, 1, -100], [1, -100, 0]])
    tokens = bound((3, 4), weight=1.0, kernel=None, task=TokenClassification(2))
    rows, of_rows = h[y != -100], y[y != -100]
    alone = bound((4,), weight=1.0, kernel=None)(Out(rows, rows, None), None, views(of_rows.tolist()))
    assert torch.equal(tokens(Out(h, h, None), None, views(y.tolist())), alone)
    pixels = bound((4, 3, 1), weight=1.0, kernel=None, task=PixelClassification(2))
    image = h.transpose(1, 2).unsqueeze(3)
    assert torch.equal(pixels(Out(image, image, None), None, views(y.unsqueeze(2).tolist())), alone)


def test_images_are_compared_by_the_deviation_of_each_channel():
    x = torch.randn(3, 5, 2, 2, dtype=torch.float64)
    u = torch.stack([torch.stack([channel.flatten().std() for channel in image]) for image in x])
    torch.testing.assert_close(similarity(x), similarity(u))
    with_few_channels = x[:, :3]
    torch.testing.assert_close(similarity(with_few_channels), similarity(with_few_channels.flatten(1)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_deviation_and_its_gradient_are_those_of_torch(layout):
    x = torch.randn(4, 5, 3, 2, dtype=torch.float64).contiguous(memory_format=layout)
    x[1, 2] = 1.0  # a constant channel
    x.requires_grad_()
    right = x.flatten(2).std(2)
    torch.testing.assert_close(deviations(x), right)
    up = torch.randn_like(right)
    (gradient,) = torch.autograd.grad(right, x, up)
    torch.testing.assert_close(torch.autograd.grad(deviations(x), x, up)[0], gradient)


@pytest.mark.parametrize(
    ("shape", "kernel", "count"), [((4, 6, 6), 3, 144), ((4, 6, 6), 1, 16), ((4,), 3, 16)]
)
def test_the_map_has_no_bias_and_keeps_the_width(shape, kernel, count):
    penalty = bound(shape, kernel=kernel)
    assert sum(p.numel() for p in penalty.parameters()) == count


def test_a_batch_of_one_sample_is_refused_unless_it_is_the_last_of_an_epoch():
    penalty = bound((2,), kernel=None)
    h = torch.tensor([[0.0, 2.0], [5.0, 1.0]])
    with pytest.raises(ValueError, match=r"one sample has no pairs; use a larger batch_size"):
        penalty(Out(h[:1], h[:1], None), None, views([0]))
    penalty(Out(h, h, None), None, views([0, 1]))
    assert penalty(Out(h[:1], h[:1], None), None, views([0])) == 0


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="block conv1: all samples are of one class"):
        bound((2,), classes=1)


@pytest.mark.parametrize("shape", [(5, 3, 3), (5,), (7,)])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_constant_features_have_no_similarity_and_a_small_gradient(shape, value):
    """Centred they are zero up to rounding; divided by ε, their gradient would be 10⁸."""
    h = torch.randn(4, *shape)
    h[1] = value
    h.requires_grad_()
    made = similarity(h)
    torch.testing.assert_close(made[1], torch.zeros(4), atol=1e-6, rtol=0)
    made.sum().backward()
    assert h.grad.abs().max() < 10


def test_beside_a_silent_sample_the_similarities_are_those_of_torch():
    h = torch.randn(4, 5, dtype=torch.float64)
    h[1] = 0
    other = h.clone()
    up = torch.randn(4, 4, dtype=torch.float64)
    made = similarity(h.requires_grad_())
    u = other.requires_grad_() - other.mean(1, keepdim=True)
    right = torch.cosine_similarity(u.unsqueeze(1), u, dim=2)
    torch.testing.assert_close(made, right)
    (made * up).sum().backward()
    (right * up).sum().backward()
    active = [0, 2, 3]
    torch.testing.assert_close(h.grad[active], other.grad[active])
    # û = u − mean u of the silent one, which then is a product with the others
    unit = torch.nn.functional.normalize(u.detach(), dim=1)
    given = (up[1] + up[:, 1]) @ unit
    torch.testing.assert_close(h.grad[1], given - given.mean())


def test_a_sample_without_active_units_leaves_the_map_finite():
    penalty = bound((5,), kernel=3)
    h = torch.rand(4, 5)
    h[0] = 0
    penalty(Out(h, h, None), None, views([0, 1, 0, 1])).backward()
    assert penalty.map.weight.grad.isfinite().all()
