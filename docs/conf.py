"""Settings of the documentation site: ``nox -s docs`` builds it into ``.site``.

The pages are Markdown that also works in a checkout. What differs on the site is done here: links to folders
and to files that are no pages, the pages of the API reference, and names that docstrings refer to.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import ffcore  # noqa: E402

project = "ffcore"
author = "The ffcore authors"
copyright = author
version = release = ffcore.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
# surprises.md is a text with placeholders, from which the page of results is made
exclude_patterns = ["results/surprises.md", "**/.*"]
nitpicky = True
# Types of other packages have no pages here, and nothing is downloaded to link to theirs.
nitpick_ignore_regex = [(r"py:.*", r"(?!ffcore\b).*")]
suppress_warnings = ["config.cache"]  # conf.py holds functions

# Markdown and notebooks
myst_heading_anchors = 4
myst_enable_extensions = []  # no math: its script would come from another host
nb_execution_mode = "off"  # the tests run them
copybutton_exclude = ".linenos, .gp"

# The API reference
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The theme
html_theme = "furo"
html_title = f"ffcore {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")
REFERENCE = DOCS / "reference"
"""The folder of the generated pages: of each public module, and of each program; git ignores it."""


def modules() -> dict[str, str]:
    """Return the public modules and what each is for, from the table in api.md."""
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(ffcore[a-z0-9_.]*)` \| (.*?) \|$", page, re.MULTILINE))


@functools.cache
def homes() -> dict[int, str]:
    """Return the public name of every public object, by its id: the first module that has it."""
    found: dict[int, str] = {}
    for name in modules():
        module = importlib.import_module(name)
        for public in module.__all__:
            found.setdefault(id(getattr(module, public)), f"{name}.{public}")
    return found


def foreign(module: Any) -> dict[str, str]:
    """Return the public names that are functions or classes of another package, and whose they are."""
    found = {public: getattr(module, public) for public in module.__all__}
    code = {
        public: each for public, each in found.items() if inspect.isroutine(each) or inspect.isclass(each)
    }
    whose = {public: f"{each.__module__}.{each.__qualname__}" for public, each in code.items()}
    return {public: name for public, name in whose.items() if not name.startswith("ffcore")}


def write_pages(app: Any) -> None:
    """Write a page for each public module and each example; unchanged pages are not touched."""
    REFERENCE.mkdir(exist_ok=True)
    pages = {**module_pages(), **example_pages()}
    for page in REFERENCE.iterdir():
        if page.stem not in pages:
            page.unlink()
    for name, text in pages.items():
        page = REFERENCE / f"{name}.rst"
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def module_pages() -> dict[str, str]:
    """Return the pages of public modules. A name that two modules have is documented in the first."""
    pages = {}
    for name in modules():
        module = importlib.import_module(name)
        elsewhere = {
            public: homes()[id(getattr(module, public))]
            for public in module.__all__
            if homes()[id(getattr(module, public))] != f"{name}.{public}"
        }
        lines = [name, "=" * len(name), "", f".. automodule:: {name}"]
        if others := [*elsewhere, *foreign(module)]:
            lines.append(f"   :exclude-members: {', '.join(others)}")
        lines += ["", *(f"`{name}.{public}`: see `{home}`.\n" for public, home in elsewhere.items())]
        lines += [f"``{name}.{public}`` is ``{whose}``.\n" for public, whose in foreign(module).items()]
        pages[name] = "\n".join(lines)
    return pages


def example_pages() -> dict[str, str]:
    """Return the pages of the programs in the folder examples, which pages link to."""
    return {
        f"example-{path.stem}": f"{path.name}\n{'=' * len(path.name)}\n\n"
        f".. literalinclude:: ../examples/{path.name}\n   :language: python\n"
        for path in sorted((DOCS / "examples").glob("*.py"))
    }


def at_home_on_the_site(app: Any, docname: str, source: list[str]) -> None:
    """Make links to folders plain text, or links to their README.md, and add what only the site has."""
    here = Path(app.env.doc2path(docname)).parent
    if docname.startswith("reference/"):
        return

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = Path(os.path.normpath(here / target))
        if path.parent == DOCS / "examples" and path.suffix == ".py":
            page = os.path.relpath(REFERENCE / f"example-{path.stem}.rst", here)
            return f"[{text}]({Path(page).as_posix()})"
        if path.suffix == ".html":
            return f'<a href="{target}">{text}</a>'
        if re.fullmatch(r"`?[\w/.-]+\.md`?", text) and path.suffix == ".md" and path.is_relative_to(DOCS):
            return f"[]({target}{anchor or ''})"  # MyST fills in the title of the page or section
        if (path / "README.md").is_file() and path.is_relative_to(DOCS):
            return f"[{text}]({target.rstrip('/')}/README.md{anchor or ''})"
        if path.is_dir() or (path.is_file() and not path.is_relative_to(DOCS)):
            return text if "`" in text else f"`{text}`"
        return match[0]

    source[0] = LINK.sub(link, source[0])
    if docname == "api":  # the names in its table lead to their pages
        source[0] = re.sub(
            r"^\| (`(ffcore[a-z0-9_.]*)`) \|", r"| [\1](reference/\2.rst) |", source[0], flags=re.M
        )
    below = {
        "api": [f"reference/{name}" for name in modules()],
        "plugins/README": ["*"],
        "levels": ["reference/example-*"],
    }
    if docname in below:  # what the table of the page links to, in the sidebar
        source[0] += "\n\n```{toctree}\n:hidden:\n:glob:\n\n" + "\n".join(below[docname]) + "\n```\n"


def public_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve a reference to an object of ffcore by its public name; without one it is plain text.

    A name that does not exist at all stays unresolved, which is an error.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("ffcore"):
        return None
    try:
        found = find(target)
    except (ImportError, AttributeError):
        return None
    home = homes().get(id(found))
    if home is None or home == target:
        return content
    domain = env.get_domain("py")
    made = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", home, node, content)
    return made if made is not None else content


def find(dotted: str) -> Any:
    """Import what a dotted name names: a module, or an attribute of one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(dotted)


def plain_asterisks(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape asterisks, as in (R, *shape): docstrings mark nothing by them, reStructuredText would."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            parts[::2] = [part.replace("*", r"\*") for part in parts[::2]]
            lines[i] = "``".join(parts)


def scripts(app: Any, page: str, *_: Any) -> None:
    """Add the script that filters and sorts the tables to the pages of results, and to no other."""
    if page.startswith("results/"):
        app.add_js_file("results.js", loading_method="defer")


def setup(app: Any) -> None:
    """Connect the hooks."""
    app.connect("html-page-context", scripts)
    app.connect("autodoc-process-docstring", plain_asterisks, priority=100)  # before napoleon
    app.connect("builder-inited", write_pages)
    app.connect("source-read", at_home_on_the_site)
    app.connect("missing-reference", public_name)
