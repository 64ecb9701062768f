"""Checks of text in recipes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

# line break and tab are allowed; lone surrogates cannot be written to a file
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def refuse_control_characters(text: str) -> str:
    r"""Returns the text.

    >>> refuse_control_characters("größer → 日本")
    'größer → 日本'

    Raises:
        UnicodeError: it has a character that cannot be shown or stored, such as NUL; a ValueError.
    """
    if bad := _CONTROL.search(text):
        shown = ascii(text[max(0, bad.start() - 20) : bad.start() + 20])
        raise UnicodeError(f"{shown} has the control character U+{ord(bad[0]):04X}; remove it")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("should be one line")
    # the run directory is named after it: a file system allows 255 bytes, and a time is appended
    if len(text.encode()) > _LONGEST:
        raise ValueError(f"should have at most {_LONGEST} bytes")
    return text


_LONGEST = 200

Text = Annotated[str, AfterValidator(refuse_control_characters)]
"""Text of any length."""

Label = Annotated[Text, AfterValidator(_one_line)]
"""A short name in one line."""
