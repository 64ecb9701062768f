"""Mutated recipes and overrides: each is valid, or refused in lines that name what is wrong.

    python tests/faults/recipes.py 20000 1

Prints how many were accepted and refused, and for each bug the number of the mutation, which repeats it:

    python tests/faults/recipes.py --only 137 1
"""

import copy
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.load import dump, load, root

SLOW = 2.0  # seconds
HANGS = 20

TEXTS = [
    *(
        "",
        " ",
        "a",
        "ö",
        "日本",
        "🙂",
        "[/b]",
        "[bold]x",
        "{x}",
        "%s",
        "a b",
        "a/b",
        "../x",
        "~",
        "~nouser/x",
        "-",
        "#",
    ),
    *(
        "x" * 300,
        "a\nb",
        "a\tb",
        "\0",
        "\x1b[31m",
        "\ud800",
        "\u202e",
        "'",
        '"',
        "\\",
        ":",
        "a: b",
        "null",
        "true",
    ),
    *(
        "010",
        "1:30",
        "2026-01-01",
        "1_000",
        "1e5",
        "0x10",
        ".inf",
        "nan",
        "torch.optim:SGD",
        "a:b",
        "os:getcwd",
    ),
    *(
        "object",
        "train",
        "val",
        "combined",
        "__class__",
        "sum-squares",
        "dense",
        "blackbox",
        "residual",
        "model",
    ),
]
NUMBERS = [
    *(0, 1, -1, 2, 3, 7, 100, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**4000),
    *(0.0, 0.5, -0.5, 1.0, 1.5, 1e-3, 1e-30, 1e-320, 1e9, 1e12, 1e30, 1e38, 1e308, -1e308),
    *(float("inf"), float("-inf"), float("nan")),
]
TAGS = [
    *(
        "!!bool maybe",
        "!!timestamp foo",
        "!!int ''",
        "!!int x",
        "!!float ''",
        "!!binary '$'",
        "!!binary aGk=",
    ),
    *(
        "!!set {a, b}",
        "!!omap [a: 1]",
        "!!str [1]",
        "!!map [1]",
        "!!null x",
        "!foo x",
        "!!python/name:os.system",
    ),
    *("2020-99-99", "2020-01-01", "0o17", "0b2", "*nope", "&a [*a]", "&a {x: *a}", "{<<: 3}", "{<<: {a: 1}}"),
    *("{a: 1, a: 2}", "{1: 2}", "{null: 1}", "{[a]: 1}", "[" * 60 + "]" * 60, "{a: " * 60 + "1" + "}" * 60),
    *(
        "- x",
        "| x",
        ">",
        "@x",
        "`x",
        "%x",
        "x #y",
        "'x",
        '"x',
        "[x",
        "{x",
        "? x",
        "1 2",
        "a: b: c",
        "\t",
        "---",
        "...",
    ),
]
KINDS = [name for noun in NOUNS for name in manager.current().registry.names(noun)]
KEYS = [
    *(
        "kind",
        "units",
        "name",
        "block",
        "repeat",
        "lr",
        "path",
        "root",
        "optimizer",
        "penalties",
        "items",
        "at",
    ),
    *(
        "box",
        "command",
        "target",
        "options",
        "base",
        "<<",
        "trainer",
        "network",
        "data",
        "seed",
        "is",
        "",
        "x",
        "a.b",
    ),
]


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def value(rng, depth=0):
    """Returns any value."""
    choice = rng.randrange(8 if depth < 3 else 5)
    if choice == 0:
        return rng.choice(TEXTS)
    if choice == 1:
        return rng.choice(NUMBERS)
    if choice == 2:
        return rng.choice([None, True, False])
    if choice == 3:
        return rng.choice(KINDS)
    if choice == 4:
        return rng.choice([[], {}, [None], {"kind": rng.choice(KINDS)}, {"kind": None}])
    if choice in (5, 6):
        return {
            rng.choice([*KEYS, rng.choice(TEXTS)]): value(rng, depth + 1) for _ in range(rng.randrange(1, 4))
        }
    return [value(rng, depth + 1) for _ in range(rng.randrange(1, 4))]


def places(node, path=()):
    """Yields the path of every value."""
    yield path
    if isinstance(node, dict | list):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(item, (*path, key))


def mutate(rng, data):
    """Change one value of a recipe in place."""
    path = rng.choice([path for path in places(data) if path])
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    key, kind = path[-1], rng.randrange(8)
    if kind == 0:
        parent[key] = value(rng)
    elif kind == 1:
        parent[key] = rng.choice(NUMBERS)
    elif kind == 2 and isinstance(parent, dict):
        parent[rng.choice([*KEYS, rng.choice(TEXTS), f"{key}s"])] = parent.pop(key)
    elif kind == 3:
        del parent[key]
    elif kind == 4:
        parent[key] = [copy.deepcopy(parent[key]) for _ in range(rng.choice([1, 2, 3]))]
    elif kind == 5:
        parent[key] = f"@@{rng.choice(TAGS)}@@"
    elif kind == 6 and isinstance(parent, dict):
        parent[rng.choice([*KEYS, rng.choice(TEXTS)])] = value(rng)
    else:
        parent[key] = rng.choice(TEXTS)


def mild(rng, data):
    """Change one value of a recipe in place to another of its type, which may be valid."""
    path = rng.choice([path for path in places(data) if path])
    parent = data
    for part in path[:-1]:
        parent = parent[part]
    old = parent[path[-1]]
    if isinstance(old, bool):
        parent[path[-1]] = not old
    elif isinstance(old, int | float):
        parent[path[-1]] = rng.choice([old * 2, old / 2, old + 1, str(old), type(old)(1), float(old)])
    elif isinstance(old, str) and path[-1] != "kind":
        parent[path[-1]] = old + rng.choice(TEXTS)
    elif isinstance(old, dict) and set(old) == {"kind"}:
        parent[path[-1]] = old["kind"]
    elif isinstance(parent, dict) and path[-1] != "kind":
        del parent[path[-1]]


def text_of(data):
    """Returns a recipe as YAML, with the tags in it."""
    try:
        sys.set_int_max_str_digits(0)
        text = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)
    finally:
        sys.set_int_max_str_digits(4300)
    for tag in TAGS:
        for quoted in (f"'@@{tag}@@'", f'"@@{tag}@@"', "'@@" + tag.replace("'", "''") + "@@'", f"@@{tag}@@"):
            text = text.replace(quoted, tag)
    return text


def override(rng, data):
    """Returns an override of a path of the recipe, or of none."""
    path = [str(part) for part in rng.choice(list(places(data)))]
    if rng.random() < 0.3:
        path.append(rng.choice(KEYS))
    if rng.random() < 0.1:
        path = [rng.choice([*KEYS, rng.choice(TEXTS)]) for _ in range(rng.randrange(1, 60))]
    kind = rng.randrange(5)
    if kind == 0:
        new = rng.choice(TAGS)
    elif kind == 1:
        new = rng.choice(TEXTS)
    elif kind == 2:
        new = rng.choice(KINDS)
    else:
        new = text_of(rng.choice(NUMBERS) if kind == 3 else value(rng)).removesuffix("...\n").strip()
    return f"{'.'.join(path)}{rng.choice(['=', '=', '=', ' = ', '', '=='])}{new}"


def damaged(rng, text):
    """Returns a text with a part removed, doubled or replaced."""
    start = rng.randrange(len(text))
    end = min(len(text), start + rng.randrange(1, 40))
    return (
        text[:start] + rng.choice(["", text[start:end] * 2, rng.choice(TEXTS), rng.choice(TAGS)]) + text[end:]
    )


def recipes():
    """Returns the shipped recipes as data, without the base, so that each is complete."""
    return [yaml.safe_load(dump(load(str(path)))) for path in sorted(root().rglob("*.yaml"))]


def case(number, seed, known):
    """Returns the text of a mutated recipe and overrides."""
    rng = random.Random(f"{seed}-{number}")
    data = copy.deepcopy(rng.choice(known))
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 2, 4])):
            mild(rng, data)
        return text_of(data), []
    overrides = [override(rng, data) for _ in range(rng.choice([0, 0, 1, 2]))]
    for _ in range(rng.choice([0, 1, 1, 2, 4]) if overrides else rng.choice([1, 1, 2, 4])):
        if data:
            mutate(rng, data)
    text = text_of(data)
    return (damaged(rng, text) if rng.random() < 0.15 and text else text), overrides


def outcome(path, text, overrides):
    """Returns accepted, refused or bug, and the line of a bug."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        recipe = load(str(path), overrides)
    except UserError as error:
        lines = str(error).splitlines()
        fine = 0 < len(lines) <= 6 and all(len(line) < 2000 for line in lines)
        return (
            ("refused", "")
            if fine
            else ("bug", f"a message of {len(lines)} lines, {len(str(error))} characters")
        )
    except Exception as error:
        return "bug", f"{type(error).__name__}: {str(error)[:200]}"
    try:
        path.write_text(dump(recipe), encoding="utf-8")
        again = load(str(path))
    except Exception as error:
        return "bug", f"cannot be dumped and loaded: {type(error).__name__}: {str(error)[:200]}"
    same = again.model_dump(mode="json") == recipe.model_dump(mode="json")
    return (
        ("accepted", "")
        if same or "nan" in dump(recipe)
        else ("bug", "is another recipe after dump and load")
    )


class HangError(BaseException):
    pass


def hang(number, frame):
    raise HangError


def run(numbers, seed, out=print):
    """Validate the mutations of these numbers; return how many had which outcome."""
    counts = Counter({"accepted": 0, "refused": 0, "bug": 0, "slow": 0})
    known = recipes()
    signal.signal(signal.SIGALRM, hang)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutated.yaml"
        for number in numbers:
            text, overrides = case(number, seed, known)
            began = time.perf_counter()
            signal.alarm(HANGS)
            try:
                what, line = outcome(path, text, overrides)
            except HangError:
                what, line = "bug", f"no answer in {HANGS} s"
            signal.alarm(0)
            counts[what] += 1
            if time.perf_counter() - began > SLOW:
                counts["slow"] += 1
                out(f"slow: mutation {number} of seed {seed}: {time.perf_counter() - began:.1f} s")
            if what == "bug":
                out(f"bug: mutation {number} of seed {seed}: {line}")
    return counts


def main(words):
    if words[0] == "--only":
        text, overrides = case(int(words[1]), int(words[2]), recipes())
        print(text, *map(ascii, overrides), sep="\n")
        numbers, seed = [int(words[1])], int(words[2])
    else:
        numbers, seed = range(int(words[0])), int(words[1])
    counts = run(numbers, seed)
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    return int(counts["bug"] + counts["slow"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
