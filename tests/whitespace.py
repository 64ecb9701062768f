"""Takes trailing whitespace away and ends text files with one newline: a hook of .pre-commit-config.yaml.

python tests/whitespace.py FILE...

The exit code is 1 if a file has been changed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path


def tidy(text: bytes) -> bytes:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\n" for line in lines)


def main(files: Sequence[str]) -> int:
    changed = 0
    for path in map(Path, files):
        before = path.read_bytes()
        after = tidy(before)
        if after != before:
            path.write_bytes(after)
            print(f"{path}: changed")
            changed = 1
    return changed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
