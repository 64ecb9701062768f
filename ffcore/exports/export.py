"""Exports networks and their learning steps; see `export`."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import get_args

from torch import Tensor

from ffcore.errors import UserError, expect
from ffcore.exports import predict
from ffcore.exports.bundle import refuse_existing, refuse_unwritable
from ffcore.exports.exporter import Exporter, Options, To, What
from ffcore.exports.onnx import needs_packages
from ffcore.exports.profiles import PROFILES
from ffcore.exports.training import Training
from ffcore.local.optimizers import BlockOptimizers
from ffcore.network import Network
from ffcore.run.surroundings import own_settings

_ONE_AT_A_TIME = Lock()
"""torch traces in one thread only."""


def export(
    net: Network | str | Path,
    folder: str | Path,
    what: What = "learn",
    *,
    optimizers: BlockOptimizers | None = None,
    to: To = "onnx",
    rows: int | None = None,
    per_block: bool = False,
    activities: bool = False,
    int8: bool = False,
    profile: str | None = None,
    training: Training | None = None,
    example: Tensor | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a bundle: graphs that predict, and that take forward-only learning steps, without torch.

    A learning step becomes one graph, (samples, targets, state, random numbers) → (new state, losses). It is
    a trace of `Network.learn`, so every algorithm is exported as it is. `ffcore.edge` runs bundles with ONNX
    Runtime.

    >>> import tempfile, torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bundle = ffcore.export(net, f"{folder}/digits")
    ...     sorted(path.name for path in bundle.iterdir())
    ['bundle.json', 'golden.npz', 'learn.onnx', 'predict.onnx', 'weights.npz']

    Args:
        net: the network, which stays as it is; or the directory of a run.
        folder: where the bundle is written.
        what: "learn": prediction and learning; "predict": prediction only.
        optimizers: made by `ffcore.optimizers`, with SGD, Adam or AdamW; None: those of ``net.learn``. The
            learning rate is the one from which a schedule began.
        to: "onnx", or "torch" for programs of `torch.export` (``.pt2``).
        rows: samples of every batch, for engines without dynamic shapes; None: any number.
        per_block: whether each block that learns gets a graph of its own, so that a device holds one at a
            time.
        activities: whether prediction returns the activity of every block, and no scores.
        int8: whether forward passes multiply in eight bits; weights that learn, and their updates, stay in
            float32. Weights of a bundle that only predicts are stored in eight bits. The scale of activities
            is that of the whole batch: a sample's scores depend a little on the others.
        profile: "minimal": keep to the operators of `ffcore.exports.profiles`, for simple engines; it needs
            ``rows``.
        training: epochs, batch size and learning rates that a runtime uses by itself.
        example: (N, *shape) a few samples, for a network whose inputs are not floats.
        overwrite: whether to replace an existing bundle.

    Returns:
        The directory.

    Raises:
        ffcore.errors.UserError: when a part of the network cannot be exported, with the reason, or the
            directory cannot be written. Nothing has been written.
    """
    if isinstance(net, str | Path):
        from ffcore.exports.run import of_run

        net, of_the_run = of_run(Path(net))
        training = training or of_the_run
    expect("net", net, Network, "an ffcore.Network")
    for name, value, right in (("what", what, get_args(What)), ("to", to, get_args(To))):
        if value not in right:
            raise UserError(f"{name}: should be {' or '.join(right)}, not {value!r}")
    if rows is not None and (type(rows) is not int or rows < 1):
        raise UserError(f"rows: should be a positive integer or None, not {rows!r}")
    if profile is not None and profile not in PROFILES:
        raise UserError(f"profile: should be {' or '.join(PROFILES)}, not {profile!r}")
    for name, given in (("int8", int8), ("profile", profile), ("per_block", per_block)):
        if given and to == "torch":
            raise UserError(f"{name}: applies to ONNX only, not to programs of torch")
    if int8 and profile is not None:
        raise UserError("int8: not together with a profile, whose operators have no products in eight bits")
    if profile is not None and rows is None:
        raise UserError(f"rows: the profile {profile} needs a fixed number of rows; give rows (--rows N)")
    target = Path(folder)
    refuse_existing(target, overwrite)
    refuse_unwritable(target)
    if to == "onnx":
        needs_packages()
    predict.refuse(net)
    net.local.settle()
    options = Options(what, to, rows, per_block, activities, int8, profile)
    mixed, net.autocast = net.autocast, None  # graphs compute in float32
    try:
        with _ONE_AT_A_TIME, own_settings(warn=False):
            return Exporter(net, optimizers, options, training or Training(), example).write(
                target, overwrite
            )
    finally:
        net.autocast = mixed
