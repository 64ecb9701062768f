"""C functions from the bodies that components give.

If all blocks have the same body, it is the function; if not, the function chooses by the block's index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import indent

from ffcore.exports.c99.read import Plan


def functions(plan: Plan, learn: bool) -> tuple[str, bool]:
    """Return the functions of a network's components, and whether they need `logistic.c.in`.

    Args:
        plan: the network.
        learn: whether the C code learns by gradients.
    """
    layers = plan.layers
    made = [
        _function(
            "inline float",
            "activation",
            ["float a"],
            [x.activation[0] for x in layers],
            "h = f(a) of a unit.",
        )
    ]
    if learn:
        slopes, what = [x.activation[1] for x in layers], "f'(a) of a unit, by its activity."
        made.append(_function("inline float", "activation_slope", ["float h"], slopes, what))
    if plan.labels is not None:
        row = ["const float *h", "uint32_t units"]
        # that of a block without one is never called
        known = [x.energy for x in layers if x.energy is not None]
        values = [x.energy.value if x.energy is not None else known[0].value for x in layers]
        made.append(_function("float", "energy", row, values, "Goodness of the activity of a row."))
        if learn:
            slopes = [energy.slope for energy in known]
            arguments = [*row, "uint32_t j", "float g"]
            what = "Derivative of the goodness g with respect to unit j."
            made.append(_function("float", "energy_slope", arguments, slopes, what))
            losses = [x.loss for x in layers if x.loss is not None]
            arguments = ["float positive", "float negative", "float *up_positive", "float *up_negative"]
            what = "Loss of the goodness of a positive and a negative row, and its derivatives."
            made.append(_function("float", "contrast", arguments, losses, what))
    handoffs = [x.handoff for x in layers]
    what = "Input of the next block, in place of the activity of a row."
    made.append(_function("void", "handoff", ["float *h", "uint32_t units"], handoffs, what))
    if plan.labels is not None:
        arguments = ["float *row", "const float *x", "uint32_t label"]
        what = "Labelled input of a sample."
        made.append(_function("void", "write_label", arguments, [plan.labels], what, by_block=False))
    text = "".join(made)
    return text, bool(re.search(r"\b(softplus|sigmoid)\(", text))


def _function(
    returns: str, name: str, arguments: Sequence[str], bodies: Sequence[str], what: str, by_block: bool = True
) -> str:
    """Return a C function.

    Args:
        returns: the type of its result.
        name: its name.
        arguments: its arguments, besides the block.
        bodies: its body for each block.
        what: the comment.
        by_block: whether the block is an argument.
    """
    every = [*(["uint32_t block"] if by_block else []), *arguments]
    groups: dict[str, list[int]] = {}
    for block, body in enumerate(bodies):
        groups.setdefault(body, []).append(block)
    if len(groups) == 1:
        inner = bodies[0]
    else:
        inner = "switch (block) {\n" + "".join(
            _case(body, blocks, last=i == len(groups) - 1, void=returns == "void")
            for i, (body, blocks) in enumerate(groups.items())
        )
        inner += "}"
    names = [argument.split()[-1].lstrip("*") for argument in every]
    unused = [f"(void){name};" for name in names if not re.search(rf"\b{name}\b", inner)]
    body = "\n".join([*unused, *([inner] if inner else [])])
    return f"\n/* {what} */\nstatic {returns} {name}({', '.join(every)})\n{{\n{indent(body, '    ')}\n}}\n"


def _case(body: str, blocks: Sequence[int], last: bool, void: bool) -> str:
    labels = "default:" if last else "\n".join(f"case {block}u:" for block in blocks)
    end = "\n    return;" if void and not last else ""
    return f"{labels} {{\n{indent(body, '    ')}{end}\n}}\n"
