"""The hooks: what a plugin may implement.

All of them are called once, when the plugins are loaded. The module that implements them
imports no torch, and names its classes by dotted target.
"""

from __future__ import annotations

import pluggy

from ffcore.plugin.register import Register, RegisterRecipe

hookspec = pluggy.HookspecMarker("ffcore")


@hookspec
def ffcore_register_goodness(register: Register) -> None:
    """Register goodness functions of activities.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("sum-squares", "my_ff.goodness:SumSquares", SumSquaresOptions)
    """


@hookspec
def ffcore_register_objectives(register: Register) -> None:
    """Register objectives, the local losses made of goodness.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("logistic", "my_ff.objectives:Logistic", LogisticOptions)
    """


@hookspec
def ffcore_register_penalties(register: Register) -> None:
    """Register penalties, terms added to a local loss.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("peer-norm", "my_ff.penalties:PeerNorm", PeerNormOptions)
    """


@hookspec
def ffcore_register_augmentations(register: Register) -> None:
    """Register augmentations of training samples.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("shift", "my_plugin.augmentations:Shift", ShiftOptions)
    """


@hookspec
def ffcore_register_negatives(register: Register) -> None:
    """Register sources of negative samples.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("wrong-label", "my_ff.negatives:WrongLabel", WrongLabelOptions)
    """


@hookspec
def ffcore_register_labels(register: Register) -> None:
    """Register label codes, which write a class into an input.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("overlay", "my_ff.labels:Overlay", OverlayOptions)
    """


@hookspec
def ffcore_register_handoffs(register: Register) -> None:
    """Register handoffs, modules between a block's activity and the next block.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("rms", "my_ff.handoffs:RMS", RMSOptions)
    """


@hookspec
def ffcore_register_bodies(register: Register) -> None:
    """Register bodies, the modules inside blocks; ``in_shape`` is supplied by the builder.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("dense", "my_ff.bodies:Dense", DenseOptions)
    """


@hookspec
def ffcore_register_networks(register: Register) -> None:
    """Register networks, which a recipe names in one item; see `ffcore.interfaces.Items`.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("resnet17", "my_nets.residual:ResNet17", ResNet17Options)
    """


@hookspec
def ffcore_register_circuits(register: Register) -> None:
    """Register circuits, stages whose blocks see each other; see `ffcore.interfaces.Circuit`.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("recurrent", "my_ff.recurrent:Recurrent", RecurrentOptions)
    """


@hookspec
def ffcore_register_contributions(register: Register) -> None:
    """Register layer contributions, which combine the evidence of layers.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("skip-first", "my_ff.contributions:SkipFirst", SkipFirstOptions)
    """


@hookspec
def ffcore_register_schedules(register: Register) -> None:
    """Register schedules, which say what blocks learn together and when.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("greedy", "my_ff.schedules:Greedy", GreedyOptions)
    """


@hookspec
def ffcore_register_readouts(register: Register) -> None:
    """Register readouts, classifiers that listen to blocks.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("softmax", "my_ff.readouts:Softmax", SoftmaxOptions)
    """


@hookspec
def ffcore_register_rules(register: Register) -> None:
    """Register learning rules, other ways for a block to learn than its gradient.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("ridge", "my_ff.rules:Ridge", RidgeOptions)
    """


@hookspec
def ffcore_register_blackboxes(register: Register) -> None:
    """Register black boxes, anything callable between blocks.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("worker", "my_ff.boxes:Worker", WorkerOptions)
    """


@hookspec
def ffcore_register_algorithms(register: Register) -> None:
    """Register algorithms: which views enter the network, how evidence becomes scores.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("forward-forward", "my_ff.algorithm:FF", FFOptions)
    """


@hookspec
def ffcore_register_datasets(register: Register) -> None:
    """Register data sets.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target, config=None, summary="")``.

    Returns: Nothing.

    Example:
        register("mnist", "my_ff.data:MNIST", MNISTOptions)
    """


@hookspec
def ffcore_register_recipes(register: RegisterRecipe) -> None:
    """Register recipes, experiments as YAML files.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, path)``.

    Returns: Nothing.

    Example:
        register("mnist/my-ff", Path(__file__).with_name("my-ff.yaml"))
    """


@hookspec
def ffcore_register_report_sections(register: Register) -> None:
    """Register sections of a run's report.

    The target is a function of a ``ffcore.report.RunRecord``. It returns a ``Section``, or None where there
    is nothing to say. One that fails costs its section and a line that names the plugin, not the report.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target)``.

    Returns: Nothing.

    Example:
        register("filters", "my_ff.report:filters")
    """


@hookspec
def ffcore_register_commands(register: Register) -> None:
    """Register verbs of the command line, as click commands.

    When: once, while the plugins are loaded; in a shipped plugin this module imports no torch; a file may.

    Args:
        register: ``register(name, target)``.

    Returns: Nothing.

    Example:
        register("sweep", "my_ff.cli:sweep")
    """
