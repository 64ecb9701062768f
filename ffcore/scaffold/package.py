"""Writes the first version of a plugin package, a recipe or an example.

The component of a noun is the module of that name in ``components``, and its recipe the file in ``recipes``.
In both `Mine` and ``mine`` are replaced by the names of the plugin. All other files are texts in ``files``;
their words in capitals are replaced.
"""

from __future__ import annotations

import datetime
import json
import keyword
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import yaml

from ffcore.errors import UserError, closest, shortened
from ffcore.files import write_new
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS

_HERE = files("ffcore.scaffold")
KINDS: tuple[str, ...] = tuple(noun for noun in NOUNS if _HERE.joinpath("components", f"{noun}.py").is_file())
"""The nouns of which `new_plugin` writes a component."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_plugin(name: str, noun: str, folder: Path, author: str = "") -> Path:
    """Write a plugin package that can be installed; return its folder.

    Args:
        name: name of the package, the plugin and the component: lower-case words joined by ``-``.
        noun: the sort of its component, such as "goodness"; see `KINDS`.
        folder: where the package's folder is made, with the plugin's name.
        author: for the licence; empty: the authors of the plugin.

    Raises:
        UserError: the name or the noun cannot work, or the folder exists already.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for a plugin: lower-case words joined by '-'")
    _refuse_taken(name, noun)
    if noun not in KINDS:
        raise UserError(f"{noun!r}: there is no template{closest(noun, KINDS)}; there are {', '.join(KINDS)}")
    module = name.replace("-", "_")
    recipe = _text("recipes", f"{noun}.yaml")
    path = yaml.safe_load(recipe)["name"].replace("mine", name)
    words = {
        "MINE": name,
        "MODULE": module,
        "NOUN": noun,
        "CLASS": _class_of(name),
        "RECIPE": path,
        "FILE": f"{path.partition('/')[2]}.yaml",
        "SUMMARY": NOUNS[noun].what,
        "VERSION": version("ffcore"),
        "AUTHOR": " ".join(author.split()).replace("\\", "").replace('"', "'") or f"The authors of {name}",
        "YEAR": str(datetime.datetime.now(tz=datetime.UTC).year),
    }
    component = re.sub(r"\bMine\b", words["CLASS"], _text("components", f"{noun}.py"))
    component = component.replace('"mine"', f'"{name}"')
    source = f"src/{module}"
    contents = {
        **{of: _filled(of, words) for of in ("pyproject.toml", "README.md", "LICENSE")},
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\nruns/\n",
        ".github/workflows/test.yml": _text("files", "test.yml.txt"),
        f"{source}/__init__.py": f'"""{words["SUMMARY"].capitalize()}: a plugin of ffcore."""\n',
        f"{source}/plugin.py": _filled("plugin.py", words),
        f"{source}/{noun}.py": component,
        f"{source}/recipes/{words['FILE']}": re.sub(r"\bmine\b", name, recipe),
        f"tests/test_{module}.py": _filled("test_plugin.py", words),
    }
    return _written(folder / name, contents)


def _refuse_taken(name: str, noun: str) -> None:
    """Raise on a name that Python, YAML, an installed module or another component has.

    Raises:
        UserError: with what has it.
    """
    module = name.replace("-", "_")
    plugins = manager.current()
    template = _text("components", f"{noun}.py") if noun in KINDS else ""
    what = ""
    if (
        keyword.iskeyword(module)
        or keyword.iskeyword(_class_of(name))
        or not isinstance(yaml.safe_load(name), str)
    ):
        what = "is a word of Python or YAML"
    elif re.search(rf"\b{_class_of(name)}\b", template.replace("Mine", "")):
        what = f"would be the class {_class_of(name)}, which the template imports"
    elif name in {info.name for info in plugins.infos}:
        what = "is the name of an installed plugin"
    elif noun in NOUNS and name in plugins.registry.names(noun):
        what = f"is the kind of {NOUNS[noun].article} that exists"
    elif module in sys.stdlib_module_names or _importable(module):
        what = "is the name of an installed module"
    if what:
        raise UserError(f"{name!r} {what}; choose another name")


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def new_recipe(path: Path) -> Path:
    """Write a recipe with a comment at each part; return its path.

    Raises:
        UserError: the file exists already, or cannot be written.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{str(path)!r} should end in .yaml")
    write_new(path, _filled("recipe.yaml", {"MINE": json.dumps(path.stem, ensure_ascii=False)}))
    return path


def new_example(path: Path) -> Path:
    """Write a program with a model and a loop of your own; return its path.

    Raises:
        UserError: the file exists already, or cannot be written.
    """
    if path.suffix != ".py":
        raise UserError(f"{str(path)!r} should end in .py")
    write_new(path, _text("files", "example.py.txt"))
    return path


def _class_of(name: str) -> str:
    """Return the name of a class.

    >>> _class_of("mono-forward")
    'MonoForward'
    """
    return "".join(word.capitalize() for word in name.split("-"))


def _text(*parts: str) -> str:
    return _HERE.joinpath(*parts).read_text(encoding="utf-8")


def _filled(file: str, words: Mapping[str, str]) -> str:
    """Return a file with all words in capitals replaced."""
    return re.sub(
        r"\b[A-Z]{4,}\b", lambda match: words.get(match[0], match[0]), _text("files", f"{file}.txt")
    )


def _written(folder: Path, contents: Mapping[str, str]) -> Path:
    """Write files to a new folder: all of them, or none."""
    if folder.exists():
        raise UserError(f"{str(folder)!r} already exists")
    if not folder.parent.is_dir():
        raise UserError(f"there is no folder {str(folder.parent)!r}; make it first")
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as draft:
            made = Path(draft) / folder.name
            for name, text in contents.items():
                path = made / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            shutil.move(made, folder)
    except OSError as error:
        raise UserError(f"{shortened(str(folder), 200)} cannot be written: {error.strerror}") from error
    return folder
