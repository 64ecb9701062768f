"""What a failed check says: what was found, what was compared, in which mode, and the usual remedy."""

from __future__ import annotations

import re
from traceback import walk_tb

from torch import nn

from ffcore.blame import explain, located
from ffcore.errors import RunError, UserError, typed
from ffcore.local import GoodnessLoss
from ffcore.plugin.registry import Entry
from ffcore.testing.example import Example
from ffcore.testing.scenery import FEATURES, Likelihood, Margin, N, network, numbers, pair, single

_BATCH = "compute means and norms per row, not over the batch; if it has to compare samples, declare it"
_SEED = "take random numbers from the rng that is passed in, not from torch's global generator"
_PLACE = "work on a copy: x.clone(), or operations without a trailing underscore"
_GRAPH = "avoid .detach(), .data, .item() and operations without a derivative, such as argmax and rounding"

REMEDIES: dict[str, str] = {
    "algorithm_learns_an_easy_problem": "check the signs: positives should get more goodness, true classes "
    "more evidence; or give a network that suits it in example_recipe",
    "algorithm_learns_a_batch_of_one": "a last batch may have one sample: avoid statistics over the batch, "
    "or skip the step for it",
    "algorithm_scores_samples_one_by_one": _BATCH,
    "algorithm_changes_every_block_that_can_learn": "pass views through net.learn that every block's loss "
    "reads; blocks without a goodness or rule do not learn",
    "algorithm_repeats_itself_for_the_same_seed": "take random numbers from batch.random()",
    "algorithm_leaves_the_batch_and_the_random_state_alone": f"{_PLACE}; {_SEED}",
    "blackbox_keeps_rows": "return one row per input row, and set its output shape in setup, not in fit",
    "circuit_keeps_samples_apart": _BATCH,
    "circuit_hands_on_no_graph": "return the results of the blocks, which have no graph, not activities that "
    "you computed with gradients",
    "circuit_uses_parameters_in_turns": "give each call of a block, and each other use of its parameters, to "
    "self.turns.shared or self.turns.own together with this block; read what self.turns.own returns in turns "
    "of the same block only",
    "goodness_of_a_row_depends_on_that_row_alone": f"{_BATCH}: couples_samples = True and reads_views = True",
    "goodness_lets_a_gradient_through": _GRAPH,
    "goodness_vjp_equals_autograd": "correct vjp, or remove it: autograd is then used",
    "augmentation_keeps_shape_and_rows": _PLACE,
    "augmentation_draws_the_same_on_one_rank_and_two": _SEED,
    "negative_draws_the_same_on_one_rank_and_two": f"{_SEED}; declare couples_samples = True if a negative "
    "depends on other samples",
    "negative_leaves_its_input_alone": _PLACE,
    "contribution_leaves_evidence_alone": _PLACE,
    "contribution_does_not_mind_the_order_of_samples": _BATCH,
    "handoff_keeps_rows_apart": _BATCH,
    "handoff_leaves_its_input_alone": _PLACE,
    "handoff_of_a_silent_row_is_finite": "add a small ε to the divisor",
    "body_keeps_rows_apart": f"{_BATCH} in evaluation mode",
    "body_makes_a_gradient_for_its_parameters": _GRAPH,
    "body_has_the_gradients_of_autograd": "correct the closed form, or remove it: autograd is then used",
    "objective_derivative_equals_autograd": "correct with_derivative, or remove it: autograd is then used",
    "objective_is_a_mean_over_samples": "use .mean() over samples, or declare couples_samples = True",
    "goodness_one_number_a_row": "return one number a row; for goodness of classes set form = 'class' and "
    "return (R, K), K from context.classes in setup",
    "objective_is_a_finite_scalar": "end with .mean(), and use functions that do not overflow: softplus, "
    "logsumexp",
    "recipe_network_is_built": "choose parts that fit each other: `ffcore ls NOUN` lists them",
    "objective_lets_a_gradient_through": _GRAPH,
    "penalty_is_a_scalar_with_a_graph": "end with .mean() or .sum(); set reads_handoff = True to learn from "
    "out.handoff",
    "loss_terms_are_scalars_with_a_graph": "end each term with .mean() or .sum()",
    "module_repeats_itself_in_evaluation": f"{_SEED}; draw nothing where self.training is False",
    "module_state_makes_another_one_equal": "keep numbers that are drawn or learned in buffers "
    "(register_buffer) or parameters, and make them in setup or the constructor",
    "rule_moves_every_block": "set .grad of the parameters, or change them under torch.no_grad(); refuse a "
    "form of goodness by a ValueError",
    "rule_reports_detached_losses_of_every_block": "return one mapping of detached scalars for each entry of "
    "the window",
    "entry_options_are_described": "add an Args section to the docstring of the class",
    "entry_plugin_imports_no_torch": "give targets as text in the module with the hook",
    "entry_source_reads_as_the_class": "remove what changes the class after its definition, such as a "
    "decorator, or register the class itself",
    "dataset_loads_the_same_twice": "draw from a generator that is seeded in load",
}
"""The usual remedy by ``noun_check``, with ``_`` for spaces."""


def failure(example: Example, name: str, doc: str, error: BaseException) -> str:
    """Return the message of a failed check.

    Args:
        example: the component and its options.
        name: name of the check's function without ``check_``.
        doc: docstring of the check's function.
        error: what it raised.
    """
    entry = example.entry
    first = " ".join(doc.partition("\n\n")[0].split())
    lines = [f"found:   {_in_a_block(example, error) or found(error)}", f"checked: {first}"]
    if mode := _mode(entry, error):
        lines.append(f"mode:    {mode}")
    if (remedy := REMEDIES.get(name)) is not None and isinstance(error, AssertionError):
        lines.append(f"remedy:  {remedy}")
    return "\n".join(lines)


def _in_a_block(example: Example, error: BaseException) -> str:
    """Return what a block says of a component, where the kit stumbled over what it returned; "" if nothing.

    In a block the results of components are checked at each call, with the component's file and line.
    """
    noun = example.entry.noun
    if isinstance(error, AssertionError | UserError | RunError) or located(error):
        return ""
    if noun not in ("goodness", "objective", "penalty", "loss", "handoff"):
        return ""
    try:
        made = example.make()
        form = getattr(made, "accepts" if noun == "objective" else "form", "energy")
        net = network("class" if form == "class" or noun == "loss" else "energy")
        for block in net.blocks:
            if noun in ("goodness", "handoff"):
                setattr(block, noun, made)
            elif noun == "loss":
                block.loss = made
            else:
                own = Margin() if form == "energy" else Likelihood()
                block.loss = GoodnessLoss(made) if noun == "objective" else GoodnessLoss(own, {"mine": made})
        x = numbers(2 * N, FEATURES)
        net.learn(pair(x) if net.blocks[0].goodness.form == "energy" else single(x))  # type: ignore[union-attr]
    except (UserError, RunError) as known:
        return str(known)
    except Exception:  # the block has no better explanation
        return ""
    return ""


def found(error: BaseException) -> str:
    """Return one line about what a check has found; with the author's line if the author's code raised."""
    if isinstance(error, AssertionError) and not located(error):
        return _plain(str(error)) or "an assertion without a message"
    if isinstance(error, UserError | RunError):
        return str(error)
    return explain(error) or f"{typed(error, 300)}{located(error)}"


def _plain(message: str) -> str:
    """Return the message of an assertion; that of torch.testing.assert_close in one line."""
    if not re.match(r"(Tensor-likes|Scalars) are not (close|equal)!", message):
        return message
    rest = [line.strip() for line in message.splitlines()[1:] if line.strip()]
    return f"two results that should be equal differ: {' '.join(rest)}"


def _mode(entry: Entry, error: BaseException) -> str:
    """Return the mode of the component at the time of the error; "" if it is no module in use."""
    made = entry.load()
    if not isinstance(made, type) or not issubclass(made, nn.Module):
        return ""
    for frame, _ in list(walk_tb(error.__traceback__))[::-1]:
        for value in frame.f_locals.values():
            if type(value) is made and hasattr(value, "training"):
                return "training" if value.training else "evaluation"
    return ""
