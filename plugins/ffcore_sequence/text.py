"""Text as tokens, and tokens as text, with the vocabulary of a run: ``data.classes`` of its results."""

from __future__ import annotations

from collections.abc import Sequence

from ffcore.errors import UserError

_BYTES = [str(k) for k in range(256)]


def tokens_of(text: str, names: Sequence[str]) -> list[int]:
    """Return the tokens of a text: characters, or bytes if the vocabulary is 256 numbers.

    >>> tokens_of("ba", ["a", "b"])
    [1, 0]

    Raises:
        UserError: the text is empty, or a character is not in the vocabulary.
    """
    if not text:
        raise UserError("the text is empty; give at least one character")
    if list(names) == _BYTES:
        return list(text.encode())
    index = {name: k for k, name in enumerate(names)}
    for character in text:
        if character not in index:
            known = "".join(name for name in names if len(name) == 1)
            raise UserError(f"{character!r} is not in the vocabulary of the run: {known!r}")
    return [index[character] for character in text]


def text_of(tokens: Sequence[int], names: Sequence[str]) -> str:
    """Return tokens as text: characters as they are, bytes in UTF-8, other tokens with spaces between.

    >>> text_of([1, 0], ["a", "b"]), text_of([104, 105], [str(k) for k in range(256)])
    ('ba', 'hi')
    """
    if list(names) == _BYTES:
        return bytes(tokens).decode("utf-8", errors="replace")
    return ("" if all(len(name) == 1 for name in names) else " ").join(names[token] for token in tokens)
