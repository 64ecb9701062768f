"""The two files of a network in C, from its plan and the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import ffcore
from ffcore.exports.c99.arrays import Array, flash, ram, table
from ffcore.exports.c99.functions import functions
from ffcore.exports.c99.int8 import INPUTS, rounded
from ffcore.exports.c99.optimisers import Stepping
from ffcore.exports.c99.read import Layer, Plan, refusal
from ffcore.interfaces.c99 import literal

Weights = Literal["float32", "int8"]
Sums = Literal["float32", "float64"]

COLUMNS = 65536
"""Most inputs of a layer in closed form: indices of the triangle of its sums are of the type uint32_t."""

_TEMPLATES = Path(__file__).parent / "templates"
_LIMIT = 2**32 - 1
"""Indices are of the type uint32_t."""

_OF_CONTRAST = """\
Forward-Forward. x a sample; h = f(W x + b) activity of a block; g its goodness; up = dL/dg of its loss
L. A row is an input or an activity. The positive row has the sample's label, the negative row a wrong
one. No gradient crosses a block: every block learns from its own loss before the next one runs."""
_OF_SAMPLES = """\
One pass. x a sample; h = f(W x + b) activity of a block. A row is an input or an activity."""
_OF_SUMS = """\
Closed forms. A = sum of x x^T and B = sum of x z^T over the samples, for inputs x of a block, with a 1
for the bias, and targets z. Then [W b]^T = (A + strength I)^-1 B, by Cholesky's method. One block
learns after another; each needs one pass of the samples."""


def composed(
    plan: Plan,
    name: str,
    title: str,
    learn: bool,
    weights: Weights,
    steps: Stepping | None,
    sums: Sums,
    scaling: str = "",
) -> tuple[str, str]:
    """Return the header and the C file of a network.

    Args:
        plan: the network.
        name: the prefix of all public names.
        title: the first line of both files.
        learn: whether the C code learns.
        weights: the type of the weights.
        steps: the optimiser of a Forward-Forward network that learns.
        sums: the type of the sums of closed forms.
        scaling: macros of the header by which stored values become samples.

    Raises:
        UserError: when the arrays are too large for their indices.
    """
    eight, contrast = weights == "int8", plan.labels is not None
    even, odd = _widths(plan)
    numbers, layers = _weights(plan, name, eight, const=not learn)
    arrays = [*numbers, *layers, Array("shares", "float", len(plan.layers), "factors of the scores", True)]
    arrays[-1] = _filled(arrays[-1], np.array([layer.share for layer in plan.layers], np.float32))
    arrays += [
        Array("even", "float", plan.rows * even, "input of the first block, activities of blocks 2, 4, ..."),
        Array("odd", "float", plan.rows * odd, "activities of blocks 1, 3, ..."),
    ]
    if eight:
        widest = max(layer.inputs for layer in plan.layers)
        arrays.append(Array("quantised", "int8_t", plan.rows * widest, "inputs of a layer, rounded"))
    if steps is not None:
        arrays += _optimiser_arrays(steps, name)
    closed = learn and not contrast
    kind = "double" if sums == "float64" else "float"
    if closed:
        arrays += _closed_arrays(plan, kind)
    if max(array.count for array in arrays) > _LIMIT:
        raise refusal("an array has more than 2^32 - 1 elements")
    fields: dict[str, object] = {
        "name": name,
        "NAME": name.upper(),
        "title": title,
        "version": ffcore.__version__,
        "features": plan.features,
        "inputs": plan.inputs,
        "classes": plan.classes,
        "blocks": len(plan.layers),
        "rows": plan.rows,
        "even": even,
        "odd": odd,
        "weights": numbers[0].count,
        "sections": " prediction, learning," if learn else " prediction,",
        "legend": _comment((_OF_CONTRAST if contrast else _OF_SUMS if closed else _OF_SAMPLES).splitlines()),
        "floats": f"{name}_floats" if eight else f"{name}_weights",
        "scale": f"\n    uint32_t scale;  /* index of the scales of units in {name}_floats */"
        if eight
        else "",
        "sum": kind,
        "sqrt": "sqrt" if kind == "double" else "sqrtf",
        "optimiser": "" if steps is None else steps.code,
        "precision": "weights and activities in int8, sums in int32" if eight else "float32",
        "layers": _comment(_described(plan, steps)),
        "memory": _comment(table(arrays)),
        "ram": ram(arrays),
        "flash": flash(arrays),
        "scaling": scaling,
        "declarations": _declarations(arrays, name, learn, contrast),
    }
    return _rendered("header.h.in", fields), _code(plan, arrays, fields, learn, eight)


def _code(plan: Plan, arrays: Sequence[Array], fields: Mapping[str, object], learn: bool, eight: bool) -> str:
    """Return the C file."""
    contrast = plan.labels is not None
    closed = learn and not contrast
    components, logistic = functions(plan, learn and contrast)
    parts = [_rendered("start.c.in", fields), _rendered("layer.c.in", fields)]
    if closed:
        parts.append(_rendered("closed_arrays.c.in", fields))
    parts += ["\n", *(array.at_top() for array in arrays if not array.public)]
    parts.append(_rendered("helpers.c.in", fields))
    if logistic:
        parts.append(_rendered("logistic.c.in", fields))
    parts += [components, _rendered("forward_int8.c.in" if eight else "forward.c.in", fields)]
    parts.append(_rendered("contrast.c.in" if contrast else "one_pass.c.in", fields))
    if learn:
        parts.append(_rendered("closed.c.in" if closed else "learn.c.in", fields))
    parts.append(f"\n/* ---- data {'-' * 90} */\n")
    parts += [array.defined() for array in arrays if array.public or array.starts]
    return "".join(parts)


def _rendered(template: str, fields: Mapping[str, object]) -> str:
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda found: str(fields[found[1]]), text)


def _comment(lines: Sequence[str]) -> str:
    return "\n".join(f" * {line}".rstrip() for line in lines)


def _widths(plan: Plan) -> tuple[int, int]:
    """Return the largest rows of x, h2, h4, … and of h1, h3, …"""
    widths = [plan.inputs, *(layer.units for layer in plan.layers)]
    return max(widths[::2]), max(widths[1::2])


def _filled(array: Array, values: np.ndarray[Any, Any]) -> Array:
    """Return a constant whose values are written even if all are zero."""
    lines = tuple(f"{literal(value)}," for value in values.tolist())
    return Array(array.name, array.kind, array.count, array.what, array.const, array.public, lines=lines)


def _weights(plan: Plan, name: str, eight: bool, const: bool) -> tuple[list[Array], list[Array]]:
    """Return the arrays of weights, and the table of layers."""
    numbers: list[np.ndarray[Any, Any]] = []
    floats: list[np.ndarray[Any, Any]] = []
    lines, at, float_at = [], 0, 0
    for layer in plan.layers:
        entry = [layer.inputs, layer.units, at]
        if eight:
            if layer.inputs > INPUTS:
                raise refusal(f"block {layer.name}: {layer.inputs} inputs; int8 has at most {INPUTS}")
            rows, scales = rounded(layer.weight)
            numbers.append(rows.reshape(-1))
            floats.append(scales)
            bias_at, scale_at = float_at + layer.units, float_at
            float_at += layer.units * (1 if layer.bias is None else 2)
        else:
            numbers.append(layer.weight.reshape(-1))
            bias_at = at + layer.weight.size
        if layer.bias is not None:
            (floats if eight else numbers).append(layer.bias)
        at = sum(part.size for part in numbers)
        texts = [*(f"{each}u" for each in entry), "NO_BIAS" if layer.bias is None else f"{bias_at}u"]
        texts += [f"{scale_at}u"] if eight else []
        lines.append(f"{{{', '.join(texts)}}}, /* {_safe(layer.name)} */")
    what = "W and b of every block" if not eight else "W of every block, rounded"
    made = [_public(f"{name}_weights", "int8_t" if eight else "float", np.concatenate(numbers), what, const)]
    if eight:
        what = "scales of the units, and b, of every block"
        made.append(_public(f"{name}_floats", "float", np.concatenate(floats), what, const))
    kind = "Layer8" if eight else "Layer"
    return made, [
        Array(
            "layers",
            kind,
            len(lines),
            "sizes of the blocks, and where their weights begin",
            True,
            lines=tuple(lines),
        )
    ]


def _public(name: str, kind: str, values: np.ndarray[Any, Any], what: str, const: bool) -> Array:
    return Array(name, kind, values.size, what, const, public=True, values=values)


def _optimiser_arrays(steps: Stepping, name: str) -> list[Array]:
    state = steps.state.T.reshape(-1)  # the numbers of a weight beside each other
    counts = np.array(steps.steps, np.uint32)
    made = [
        _public(f"{name}_rate", "float", np.array(steps.rates, np.float32), "learning rates", False),
        _public(f"{name}_steps", "uint32_t", counts, "steps made by every block", False),
    ]
    if not state.size:
        return made
    return [*made, _public(f"{name}_state", "float", state, "state of the optimiser", False)]


def _closed_arrays(plan: Plan, kind: str) -> list[Array]:
    """Return the targets of the layers, and the sums of the largest of them."""
    projections: list[np.ndarray[Any, Any]] = []
    codes: list[np.ndarray[Any, Any]] = []
    lines, at, code_at, gram, right = [], 0, 0, 0, 0
    for layer in plan.layers:
        assert layer.sums is not None, "read for learning"
        columns = layer.inputs + (layer.bias is not None)
        if columns > COLUMNS:
            raise refusal(f"block {layer.name}: {layer.inputs} inputs; sums have at most {COLUMNS - 1}")
        gram = max(gram, columns * (columns + 1) // 2)
        right = max(right, columns * layer.units)
        place = "NO_PROJECTION"
        if layer.sums.projection is not None:
            place = f"{at}u"
            projections.append(layer.sums.projection.T.cpu().numpy().astype(np.float32).reshape(-1))
            at += projections[-1].size
        lines.append(f"{{{literal(layer.sums.strength)}, {place}, {code_at}u}}, /* {_safe(layer.name)} */")
        codes.append(layer.sums.codes.cpu().numpy().astype(np.int8).reshape(-1))
        code_at += codes[-1].size
    drawn = np.concatenate(projections) if projections else np.ones(1, np.float32)
    known = np.concatenate(codes)
    return [
        Array(
            "of_targets",
            "Target",
            len(lines),
            "strengths of the ridge, and where Q and codes begin",
            True,
            lines=tuple(lines),
        ),
        Array("projections", "float", drawn.size, "Q of every block", True, values=drawn),
        Array("codes", "int8_t", known.size, "codes of the classes", True, values=known),
        Array("gram", kind, gram, "A, the lower triangle of (D', D'); D' counts inputs and a 1 for b"),
        Array("right", kind, right, "B (D', U)"),
        Array("samples", "uint32_t", 0, "number of samples in the sums"),
        Array("current", "uint32_t", 0, "index of the block that learns"),
    ]


def _described(plan: Plan, steps: Stepping | None) -> list[str]:
    lines = [f"{plan.features} values of a sample, {plan.classes} classes, blocks:"]
    lines += [f"  {_safe(each.name)}: {each.inputs} -> {each.units}{_shared(each)}" for each in plan.layers]
    return lines if steps is None else [*lines, f"Optimiser: {steps.title}."]


def _shared(layer: Layer) -> str:
    return f", factor of the scores {layer.share:g}" if layer.share else ""


def _safe(name: str) -> str:
    """Return a name that ends no comment."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _declarations(arrays: Sequence[Array], name: str, learn: bool, contrast: bool) -> str:
    """Return what the header declares."""
    upper = name.upper()
    parts = [
        f"\n/* {array.what[0].upper()}{array.what[1:]}. */\nextern {array.declared};\n"
        for array in arrays
        if array.public
    ]
    parts.append(_PREDICT)
    if learn:
        parts.append(_LEARN if contrast else _SOLVE)
    return "".join(parts).replace("@name@", name).replace("@NAME@", upper)


_PREDICT = """
/*
 * Return the class of a sample, the first one with the largest score, and write the scores of all classes.
 * x: the values that the network was trained on: scaled and standardised as the training data.
 */
int @name@_predict(const float x[@NAME@_INPUTS], float scores[@NAME@_CLASSES]);
"""
_LEARN = """
/*
 * Learn from one sample with its label, as the positive, and with a wrong label, as the negative. Return
 * the sum of the blocks' losses, and write the loss of each block unless losses is NULL.
 *
 * NAN, and no change: a label is not a class, or both are the same. A loss that is infinite or NAN is
 * returned at once: its block and those after it have not changed.
 *
 * To keep what has been learned, store all arrays above that are not const, and restore them before the
 * next call.
 */
float @name@_learn(const float x[@NAME@_INPUTS], int label, int wrong_label, float losses[@NAME@_BLOCKS]);

/* Return a wrong label. random: the state of the random numbers; any value but 0 at the start. */
int @name@_wrong_label(int label, uint32_t *random);
"""
_SOLVE = """
/*
 * For every block in order: call accumulate with all samples, then solve.
 *
 * accumulate: add a sample to the sums of the block that learns. Return 0; -1 if the label is not a class,
 * or all blocks have been solved for.
 * solve: write the weights of the block. Return the number of blocks that remain; -1 if there were no
 * samples, or their sums cannot be solved. The sums are then empty again.
 * restart: begin again with the first block.
 */
int @name@_accumulate(const float x[@NAME@_INPUTS], int label);
int @name@_solve(void);
void @name@_restart(void);
"""
