"""C99 for microcontrollers: `write_c` writes a network as a pair of files without dependencies.

    read.py        from a network to a plan: layers, their components in C, shares of the scores
    optimisers.py  the step of a torch optimiser in C, and its state
    int8.py        weights and activities rounded to eight bits, and the integer reference
    arrays.py      numbers in C, and the table of bytes
    functions.py   C functions from the bodies that components give
    compose.py     the two files, from the plan and ``templates/*.in``
    write.py       names, checks and files

A component takes part by a method ``c99``: `ffcore.interfaces.c99`.
"""

from ffcore.exports.c99.write import write_c

__all__ = ["write_c"]
