"""Checks for CI and developers: ``nox -l`` lists them."""

from __future__ import annotations

import shutil
import sys
import zipfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

OF_A_WHEEL = ("typing", "test_rooms.py")
ONE_OF_EACH = (
    *("digits/ff", "digits/pff", "digits/channel", "digits/blackbox-sklearn", "digits/backprop"),
    *(
        "digits/predsim",
        "cifar10/channel-resnet17",
        "text/characters-local",
        "digits/noprop",
        "digits/ffzero",
    ),
    *("digits/scff", "digits/pepita", "digits/sigprop", "digits/forward-projection"),
)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style of code and docstrings, with the tools of ``.[dev]`` in the environment of nox."""
    session.run(sys.executable, "-m", "ruff", "check", ".", external=True)
    session.run(sys.executable, "-m", "ruff", "format", "--check", ".", external=True)


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Strict types of ffcore and the plugins, in the environment of nox: a new one would need torch again."""
    session.run(sys.executable, "-m", "mypy", external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, from the checkout, with those that CI leaves out."""
    session.install("-e", ".[dev]")
    session.run("pytest", "--thorough", *session.posargs)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """The documentation site, in .site/html; every warning is an error. In the environment of nox."""
    strict = ("--fresh-env", "--fail-on-warning", "--keep-going", "--nitpicky")
    folders = ("--doctree-dir", ".site/doctrees", "docs", ".site/html")
    build = (sys.executable, "-m", "sphinx", "build", "--builder", "html")
    session.run(*build, *strict, *session.posargs, *folders, external=True)


@nox.session(name="tests-wheel")
def tests_wheel(session: nox.Session) -> None:
    """The built wheel, in an environment with nothing else, from another directory.

    The tests are those of parts that only a wheel could lack, such as types. All recipes
    are validated, and some are built, to check that they and their code are in the wheel; one run checks the
    command. The wheel is built from the source distribution, and both could be published.
    """
    root = Path.cwd()
    built = Path(session.create_tmp()) / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.install("build", "twine", "pytest", "hypothesis", "mypy")
    session.run("python", "-m", "build", "--outdir", str(built), str(root))
    (source,), (wheel,) = built.glob("ffcore-*.tar.gz"), built.glob("ffcore-*.whl")
    session.run("python", "-m", "twine", "check", "--strict", str(source), str(wheel))
    check_contents(wheel)
    edge = built / "edge"  # the distribution for devices
    session.run("python", "-m", "build", "--wheel", "--outdir", str(edge), str(root / "ffcore" / "edge"))
    session.run("python", "-m", "twine", "check", "--strict", *map(str, edge.iterdir()))
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(str(wheel))
    elsewhere = session.create_tmp()
    with session.chdir(elsewhere):
        recipes = sorted(f"{path.parent.name}/{path.stem}" for path in (root / "recipes").glob("*/*.yaml"))
        session.run("ffcore", "validate", *recipes)
        session.run("ffcore", "validate", "--build", *ONE_OF_EACH)
        session.run("ffcore", "run", "digits/ff", "trainer.max_epochs=1")
        installed = "import ffcore, sys; sys.exit('site-packages' not in ffcore.__file__)"
        session.run("python", "-c", installed)  # not that of the checkout
        session.run(
            *("pytest", "-c", str(root / "pyproject.toml"), "--rootdir", str(root)),
            *(str(root / "tests" / room) for room in OF_A_WHEEL),
            *("-p", "no:cacheprovider", *session.posargs),
        )


def check_contents(wheel: Path) -> None:
    """Raise if a wheel lacks a file that an import would not miss, or has one that is not for users."""
    names = zipfile.ZipFile(wheel).namelist()
    needed = ("ffcore/py.typed", "ffcore/recipes/digits/ff.yaml", "ffcore/scaffold/files/LICENSE.txt")
    lacks = [name for name in needed if name not in names]
    licence = any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    devices = [name for name in names if name.endswith(("edge/pyproject.toml", "edge/LICENSE"))]
    others = [
        *devices,
        *(top for top in tops if not top.startswith(("ffcore_", "ffcore-")) and top != "ffcore"),
    ]
    if lacks or not licence or others:
        raise SystemExit(f"{wheel.name}: lacks {lacks}, licence: {licence}, should not have {others}")


@nox.session
def bench(session: nox.Session) -> None:
    """The cost of a step, compared with bare loops."""
    session.install("-e", ".")
    session.run("python", "tests/bench/speed.py", *session.posargs)


@nox.session(name="bench-ranks")
def bench_ranks(session: nox.Session) -> None:
    """Samples per second on two ranks, compared with one process and backprop with DDP."""
    session.install("-e", ".")
    session.run("python", "tests/bench/scaling.py", *session.posargs)


@nox.session(venv_backend="none")
def gpu(session: nox.Session) -> None:
    """The kit's own test, then equality, speed and trainings on a GPU, in the environment of nox."""
    kit = ("-m", "pytest", "tests/gpu/test_kit.py")
    session.run(sys.executable, *kit, env={"FFCORE_GPU_KIT": "1"}, external=True)
    session.run(sys.executable, "tests/bench/gpu.py", *(session.posargs or ["gpu-results"]), external=True)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill runs, fill the disk, damage files and recipes: the same results, or an error of one line."""
    session.install("-e", ".[dev]")
    session.run("pytest", "tests/faults/faults.py", *session.posargs)
    session.run("python", "tests/faults/folders.py", "2000", "0")
    session.run("python", "tests/faults/recipes.py", "20000", "1")
    session.run("python", "tests/faults/kills.py", "300", "1")
