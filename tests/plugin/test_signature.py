"""Signatures read from the source and from the class: both must agree."""

import subprocess
import sys

import pytest

from ffcore.errors import UserError
from ffcore.plugin.signature import REQUIRED, imported_signature, signature_of, source_signature
from ffcore.plugin.source import UnreadableError, path_of_outside

SOURCE = '''
"""A module that needs a heavy package."""

from typing import TYPE_CHECKING, Literal

import heavy.package
from heavy import Tensor, nn
from ffcore.interfaces import Goodness
from ffcore.options import Count
from .other import Base, Mode as How

if TYPE_CHECKING:
    from heavy import Checked

HALF = 1 / 2
Size = Literal["small", "large"]


class Dense(nn.Module):
    """A dense layer.

    Args:
        units: how wide,
            in ``units``.
        bias (bool): whether
            there is one.

    Raises:
        ValueError: never.
    """

    def __init__(self, in_shape: tuple[int, ...], units: Count, size: Size = "small", *, bias: bool = True,
                 half: float = HALF, x: "Tensor | None" = None, how: How = "b", **rest: int) -> None:
        """Make it."""


class Inherits(Base):
    """Has its parent's constructor.

    Args:
        scale: more precisely.
    """


class Plain(Goodness):
    """Takes nothing."""


class Untyped:
    def __init__(self, units): ...


def function(thing: "Checked", count: int = 3) -> None:
    """A function."""


@heavy.package.decorated
def decorated(): ...


def constant(x: float = heavy.PI): ...


def called(x: float = heavy.make()): ...


def arrays(x: heavy.Array[float] | None = None, both: int | list["How"] = 1): ...

try:
    from heavy import Optional
except ImportError:
    Optional = None


def tried(x: Optional = None): ...


class Twice:
    def __init__(self, a: int = 1): ...


if heavy.NEW:
    class Twice:
        def __init__(self, b: int = 2): ...

    SWITCH = 1
else:
    SWITCH = 2


class Overloaded:
    @heavy.overload
    def __init__(self, a: int): ...
    def __init__(self, a: int = 3): ...


class Shadowed:
    HALF = 0.25
    def __init__(self, a: float = HALF): ...


class Replaced:
    def __init__(self, a: int = 3): ...


Replaced.__init__ = function


class Diamond(Dense, Base): ...


SIZE = 1
SIZE += 1


def Grown(a: int = SIZE): ...


def Switched(a: int = SWITCH): ...


Renamed = Dense
'''
OTHER = '''
from typing import Literal
Mode = Literal["a", "b"]
class Base:
    """A parent.

    Args:
        scale: a factor.
        bias: an offset.
    """
    def __init__(self, scale: float = 2.0, bias: float = -1.0) -> None: ...
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    package = tmp_path / f"pkg_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").write_text("from .main import Dense as Exported\n")
    (package / "main.py").write_text(SOURCE)
    (package / "other.py").write_text(OTHER)
    monkeypatch.syspath_prepend(tmp_path)
    return package.name


def test_arguments_are_read_without_importing_the_module(module):
    read = source_signature(f"{module}.main:Dense", ("in_shape",))
    assert (read.name, read.summary, read.imported) == ("Dense", "A dense layer.", False)
    units, size, bias, half, x, how = read.arguments
    assert (units.name, units.default, units.description) == ("units", REQUIRED, "how wide, in units.")
    assert (size.default, bias.default, half.default, x.default, how.default) == (
        "small",
        True,
        0.5,
        None,
        "b",
    )
    assert bias.description == "whether there is one."
    assert "Literal['small', 'large']" in str(size.annotation)
    assert "Literal['a', 'b']" in str(how.annotation)
    assert path_of_outside(x.annotation.__args__[0]) == "heavy.Tensor"
    assert f"{module}.main" not in sys.modules


def test_names_are_followed_through_imports_and_assignments(module):
    for name in (f"{module}.main:Renamed", f"{module}:Exported"):
        assert source_signature(name).name == "Dense"


def test_a_constructor_may_be_inherited(module):
    read = source_signature(f"{module}.main:Inherits")
    assert [(a.name, a.default, a.description) for a in read.arguments] == [
        ("scale", 2.0, "more precisely."),
        ("bias", -1.0, "an offset."),
    ]
    assert source_signature(f"{module}.main:Plain").arguments == ()


def test_types_of_other_packages_are_stand_ins(module):
    (x, both) = source_signature(f"{module}.main:arrays").arguments
    assert path_of_outside(x.annotation.__args__[0]) == "heavy.Array"
    assert both.default == 1


def test_functions_are_read_with_names_for_type_checkers(module):
    thing, count = source_signature(f"{module}.main:function").arguments
    assert path_of_outside(thing.annotation) == "heavy.Checked"
    assert count.default == 3


UNREADABLE = """
decorated missing constant called tried Twice Overloaded Shadowed Replaced Diamond Grown Switched
"""


@pytest.mark.parametrize("name", UNREADABLE.split())
def test_signatures_that_the_source_does_not_show_raise(module, name):
    with pytest.raises(UnreadableError):
        source_signature(f"{module}.main:{name}")


def test_an_edited_file_is_read_again(module, tmp_path):
    target = f"{module}.main:Inherits"
    assert source_signature(target) is source_signature(target)
    other = tmp_path / module / "other.py"
    other.write_text(OTHER.replace("scale: float = 2.0", "scale: float = 3.25"))
    assert source_signature(target).arguments[0].default == 3.25


def test_an_argument_without_a_type_raises(module):
    with pytest.raises(UserError, match=r"argument 'units' of .* has no type"):
        source_signature(f"{module}.main:Untyped")

    class Bad:
        def __init__(self, units) -> None: ...

    with pytest.raises(UserError, match="argument 'units' of Bad has no type"):
        imported_signature(Bad)


def test_annotations_for_type_checkers_only_raise_in_a_class():
    class Bad:
        def __init__(self, thing: "OnlyForCheckers") -> None: ...  # noqa: F821

    with pytest.raises(UserError, match="annotations of Bad cannot be read"):
        imported_signature(Bad)


def test_source_and_class_agree():
    target = "ffcore_std.locally_connected:LocallyConnected"
    read = source_signature(target, ("in_shape",))
    from ffcore_std.locally_connected import LocallyConnected

    right = imported_signature(LocallyConnected, ("in_shape",))
    assert read.arguments == right.arguments
    assert signature_of(LocallyConnected, ("in_shape",)) is right


def test_every_installed_component_is_read_without_torch():
    code = """
import sys
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.options import options_of
for noun in set(NOUNS) - {"recipe", "report_section", "command", "accelerator", "strategy"}:
    for entry in manager.current().registry.entries(noun):
        options_of(entry), entry.summary
        assert "torch" not in sys.modules and "lightning" not in sys.modules, entry.title
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class Short:
    def __init__(s, units: int, wide: bool = False): ...  # noqa: N805


def test_the_first_argument_of_a_constructor_may_have_another_name_than_self():
    read = source_signature(f"{__name__}:Short")
    for signature in (imported_signature(Short), read):
        assert [argument.name for argument in signature.arguments] == ["units", "wide"]
