"""What loops of torch users do: schedulers, autocast, shared parts, loaders, odd models and bad batches."""

import copy
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import ffcore
from ffcore.errors import RunError, UserError
from ffcore_ff.objectives import Logistic

ERRORS = {"goodness": "linear-head", "objective": "cross-entropy"}
LOCAL = {"kind": "local-errors", "output": False}


def samples(n=40):
    x = torch.randn(n, 12, generator=torch.Generator().manual_seed(0))
    return x, x[:, :3].argmax(1)


def layer(inputs=12, *, norm=False, **changes):
    body = nn.Sequential(nn.Linear(inputs, 10), nn.BatchNorm1d(10) if norm else nn.Identity(), nn.ReLU())
    return ffcore.LocalBlock(body, **{**ERRORS, **changes})


def network(body=None, *, norm=False, **changes):
    torch.manual_seed(0)
    stages = [layer(norm=norm), layer(10, norm=norm)] if body is None else body
    return ffcore.Network(stages, LOCAL, **{"example": samples(2)[0], "classes": 3, **changes})


class Own(nn.Module):
    """A model that calls its local blocks itself, with a layer and a parameter of its own between them."""

    def __init__(self):
        super().__init__()
        self.a, self.between, self.b = layer(), nn.Linear(10, 10), layer(10)
        self.shift = nn.Parameter(torch.zeros(10))

    def forward(self, x):
        return self.b(self.between(self.a(x)) + self.shift)


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lr_scheduler.StepLR(optimizer, 1),
        lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9),
        lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, cycle_momentum=False),
    ],
)
def test_schedulers_of_torch_step_without_a_warning(make):
    net, (x, y) = network(), samples()
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
    scheduler = make(optimizers)
    before = scheduler.get_last_lr()
    net.learn(x, y, optimizers)
    scheduler.step()
    assert scheduler.get_last_lr() != before
    assert [group["lr"] for group in optimizers.param_groups] == scheduler.get_last_lr()


def test_autocast_around_the_loop_learns_as_autocast_around_each_step():
    losses = []
    for outside in (True, False):
        net, (x, y) = network(), samples()
        optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
        with torch.autocast("cpu", torch.bfloat16, enabled=outside):
            for _ in range(5):
                with torch.autocast("cpu", torch.bfloat16):
                    losses.append(net.learn(x, y, optimizers))
    assert losses[:5] == losses[5:]


def test_blocks_do_not_share_a_component_that_keeps_values_of_its_block():
    units = Logistic(threshold="units")
    parts = {"goodness": "sum-squares", "objective": units, "handoff": "rms"}
    for other in (10, 6):  # of as many units both have the same threshold
        blocks = [ffcore.LocalBlock(nn.Linear(*sides), **parts) for sides in ((12, 10), (10, other))]
        refused = pytest.raises(UserError, match="blocks block1 and block2 have the same Logistic")
        with refused if other == 6 else nullcontext():
            ffcore.Network(blocks, "forward-forward", example=samples(2)[0], classes=3)


def test_a_module_that_calls_its_blocks_names_the_parameters_that_will_not_learn():
    with pytest.warns(UserWarning, match=r"will not learn: shift, between\.weight, between\.bias$"):
        network(Own())


def test_a_block_that_the_example_does_not_reach_is_named():
    class Sometimes(Own):
        def forward(self, x):
            return self.a(x)

    with pytest.raises(UserError, match="the local block b is not called in a pass with the example"):
        network(Sometimes())


def test_a_trained_network_may_be_a_part_of_another():
    x, y = samples()
    first = network()
    first.requires_grad_(False)
    net = network([first, layer(3)])
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    assert list(net.learn(x, y, optimizers)) == ["block1"]


def test_a_recurrent_layer_that_is_not_batch_first_is_refused():
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.rnn(x.transpose(0, 1))[0][-1])

    with pytest.raises(UserError, match=r"activity \(5, 2, 16\) should have a row for each of the 2 samples"):
        ffcore.localize(
            Steps(),
            at=["rnn"],
            head="head",
            example=torch.zeros(2, 5, 8),
            classes=3,
            algorithm=LOCAL,
            **ERRORS,
        )


def test_a_packed_sequence_is_refused():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True)
            return self.head(self.rnn(packed)[1][-1])

    with pytest.raises(UserError, match="rnn gets a packed sequence, whose rows are not samples"):
        ffcore.localize(
            Packed(), "rnn", head="head", example=torch.zeros(2, 5, 8), classes=3, algorithm=LOCAL, **ERRORS
        )


@pytest.mark.parametrize("given", ["network", "model", "the model of a copy"])
def test_a_delocalized_network_says_so(given):
    model = nn.Sequential(nn.Sequential(nn.Linear(12, 10), nn.ReLU()), nn.Linear(10, 3))
    x, y = samples()
    net = ffcore.localize(model, "0", head="1", example=x[:2], classes=3, algorithm=LOCAL, **ERRORS)
    if given == "the model of a copy":
        net = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    assert ffcore.delocalize(net if given == "network" else net.local.body)(x).shape == (40, 3)
    for use in (lambda: net.predict(x), lambda: net.learn(x, y, optimizers)):
        with pytest.raises(
            UserError, match="this network was delocalized: the model has no local block 0 any"
        ):
            use()
    assert net.state_dict()


def test_one_module_under_two_names_is_named_once():
    model = nn.Sequential(nn.Linear(12, 12), nn.ReLU())
    model.append(model[0])
    with pytest.raises(UserError, match="2 is the same module as 0; name it once, as '0'"):
        ffcore.localize(model, ["0", "2"], example=samples(2)[0], classes=3, algorithm=LOCAL, **ERRORS)


def test_optimisers_that_need_a_closure_and_sparse_gradients_are_refused():
    with pytest.raises(UserError, match="LBFGS computes the loss several times a step, by a closure"):
        ffcore.optimizers(network(), torch.optim.LBFGS)
    words = nn.Sequential(nn.Embedding(9, 10, sparse=True), nn.Flatten())
    block = ffcore.LocalBlock(words, **ERRORS)
    net = network([block], example=torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(UserError, match=r"block1: body\.0 has sparse gradients"):
        ffcore.optimizers(net, torch.optim.SGD, lr=0.1)


def test_a_batch_with_nan_says_what_it_has_changed_and_nothing_is_predicted_from_nan():
    for norm, more in ((False, "weights$"), (True, "but its running statistics are not finite any more")):
        net, (x, y) = network(norm=norm), samples()
        optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
        x[3, 2] = torch.nan
        with pytest.raises(RunError, match=f"its loss .* is nan; .*{more}"):
            net.learn(x, y, optimizers)
        with pytest.raises(RunError, match=f"the scores of sample {0 if norm else 3} are NaN"):
            net.predict(x)
        with torch.no_grad(), pytest.raises(RunError, match="are NaN"):
            ffcore.ForwardOnly(net, torch.optim.SGD, lr=0.1).predict_step(x, 0)


def test_a_trainer_refuses_samples_that_learn_refuses():
    x, y = samples()
    loader = DataLoader(TensorDataset(x.to(torch.uint8), y), batch_size=20)
    module = ffcore.ForwardOnly(network(), torch.optim.SGD, lr=0.1)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few workers
        trainer = Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **options)
        with pytest.raises(UserError, match=r"are torch\.uint8; the network was built for floats: x / 255"):
            trainer.fit(module, loader)


def test_a_network_of_a_recipe_refuses_bytes():
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=4)
    x, y = torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.arange(6) % 4
    for call in (lambda: net.learn(x, y), lambda: net.predict(x), lambda: ffcore.evaluate(net, (x, y))):
        with pytest.raises(UserError, match=r"x / 255, as ffcore\.fit scales bytes"):
            call()


def test_a_trainer_takes_batches_of_several_sizes():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    net = network([ffcore.LocalBlock(body, **ERRORS)], example=torch.rand(2, 1, 8, 8))
    batches = [(torch.rand(4, 1, side, side), torch.arange(4) % 3) for side in (8, 12)]
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few workers
        trainer = Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **options)
        trainer.fit(ffcore.ForwardOnly(net, torch.optim.SGD, lr=0.1), DataLoader(batches, batch_size=None))
    assert net.batches == 2


def test_a_network_is_in_the_mode_that_it_was_in_before_a_run(tmp_path):
    net, (x, y) = network(norm=True), samples()
    run = ffcore.fit(net, (x, y), epochs=1, report=False, run_dir=tmp_path / "run", trainer={"threads": 1})
    assert all(part.training for part in net.modules())
    ffcore.load(run.path, net=(other := network(norm=True)))
    assert not any(part.training for part in other.modules())


def test_parts_in_evaluation_mode_stay_in_it(tmp_path):
    net, (x, y) = network(norm=True), samples()
    norm = net.blocks[0].body[1].eval()
    with pytest.warns(UserWarning, match="in eval mode at the start of training"):  # Lightning's
        ffcore.fit(net, (x, y), epochs=1, report=False, run_dir=tmp_path / "run", trainer={"threads": 1})
    assert [part for part in net.modules() if not part.training] == [norm]


def test_a_run_has_the_batch_size_of_its_loader_and_no_sample_in_two_splits(tmp_path):
    x, y = samples()
    data = TensorDataset(x, y)
    options = {"epochs": 1, "report": False, "trainer": {"threads": 1}}
    run = ffcore.fit(network(), DataLoader(data, batch_size=8), run_dir=tmp_path / "run", **options)
    assert run.results["steps"] == 5  # 36 samples for training
    repeats = DataLoader(data, batch_size=8, sampler=WeightedRandomSampler(torch.ones(40), 400))
    for test in ({}, {"test": (x, y)}):
        with pytest.raises(UserError, match="the sampler of the loader draws with replacement"):
            ffcore.fit(network(), repeats, run_dir=tmp_path / "other", **test, **options)
    assert not (tmp_path / "other").exists()


def test_a_network_is_evaluated_on_tensors_arrays_and_loaders():
    net, (x, y) = network(), samples()
    loader = DataLoader(TensorDataset(x, y), batch_size=7)
    expected = ffcore.evaluate(net, (x, y))
    for data in ((x.numpy().astype(np.float64), y.numpy()), loader, TensorDataset(x, y), (x, y.tolist())):
        assert ffcore.evaluate(net, data) == expected
