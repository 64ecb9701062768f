"""Selects and runs the checks of a component."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

from ffcore.blame import located
from ffcore.errors import UserError, closest
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.recipe.options import options_of
from ffcore.testing import checks, scene
from ffcore.testing.example import Example, Options, examples_of, needed
from ffcore.testing.failures import failure
from ffcore.testing.scene import Scene

Check = Callable[[Example], None]
_SLIPS: dict[Entry, dict[str, str]] = {}
"""By component, the checks that an exception ended, by the line about it."""
_ON_FILE = "reads the user's files; to check a data set, give its class examples"


@dataclass(frozen=True)
class Case:
    """One check of one component with one set of options.

    Attributes:
        example: the component and its options.
        check: the check's name.
        waived: the reason why it is not run, or empty.
        number: index of the example of the component.
        scene: the recipe that the component is tried in; None for the kit's own small network.
    """

    example: Example
    check: str
    waived: str = ""
    number: int = 0
    scene: str | None = None

    def __str__(self) -> str:
        entry = self.example.entry
        which = f"[{self.number}]" if self.number else ""
        where = "" if self.scene is None else f" in {self.scene}"
        return f"{entry.noun} {entry.name}{which}{where}: {self.check}"

    def run(self) -> None:
        """Run the check. In pytest, a waived check is skipped with its reason.

        So is one that an exception ends as another check of the component: a slip is reported once.

        Raises:
            AssertionError: when the component breaks its contract, with what was compared and the usual
                remedy.
        """
        if self.waived:
            _skip(self.waived)
        if (other := self.attempt()) is not None:
            _skip(f"the same error as in {other!r}")

    def attempt(self) -> str | None:
        """Run the check; return the name of an earlier check that ended in the same way, if there is one.

        Raises:
            AssertionError: as `run`.
        """
        entry = self.example.entry
        check: Callable[..., None] = (
            _find(entry.noun, self.check) if self.scene is None else _scenes()[self.check]
        )
        try:
            check(self.example if self.scene is None else Scene(entry, self.scene))
        except Exception as error:
            name = getattr(check, "__name__", self.check).removeprefix("check_")
            text = failure(self.example, name, check.__doc__ or "", error)
            if not isinstance(error, AssertionError) or located(error):  # a slip, which ends other checks too
                slips = _SLIPS.setdefault(entry, {})
                if (other := slips.setdefault(text.partition("\n")[0], str(self))) != str(self):
                    return other
            raise AssertionError(text) from error
        return None


def cases(
    plugin: str | None = None,
    file: str | os.PathLike[str] | None = None,
    waive: Mapping[tuple[str, str, str], str] | None = None,
    examples: Mapping[tuple[str, str], Sequence[Options]] | None = None,
    scenes: Mapping[tuple[str, str], str] | None = None,
) -> list[Case]:
    """Return every check of every registered component.

    Args:
        plugin: only the components of this installed plugin.
        file: only those of this plugin file, which is loaded first.
        waive: reasons not to run a check, by (noun, name, check).
        examples: options for a component, by (noun, name), in place of its own examples.
        scenes: a recipe for a component, by (noun, name), whose network, algorithm, data and views it is
            tried in: its name, or the path of its file. The checks of `ffcore.testing.scene` then take the
            place of those in the kit's own small network.

    Raises:
        UserError: when the plugin does not exist, a waiver has no reason or no check, or examples or scenes
            are of no component that is checked.
    """
    waive, examples, scenes = dict(waive or {}), dict(examples or {}), dict(scenes or {})
    plugins = manager.current()
    if file is not None:
        plugin = plugins.add(file)
    known = [info.name for info in plugins.infos if info.status == "ok"]
    if plugin is not None and plugin not in known:
        raise UserError(f"there is no working plugin {plugin!r}{closest(plugin, known)}")
    entries = [e for noun in NOUNS for e in plugins.registry.entries(noun) if plugin in (None, e.plugin)]
    checked = {(entry.noun, entry.name) for entry in entries}
    for what, given in (("examples", examples), ("scenes", scenes)):
        for component in given:
            if component not in checked:
                raise UserError(f"{what}: {component!r} is not (noun, name) of a component that is checked")
    found = [
        replace(case, waived=waive.get(_key(case), case.waived))
        for entry in entries
        for case in _of(entry, examples.get((entry.noun, entry.name)), scenes.get((entry.noun, entry.name)))
    ]
    for key, reason in waive.items():
        if not reason.strip():
            raise UserError(f"the waiver of {' '.join(key)!r} gives no reason")
        if key not in {_key(case) for case in found}:
            raise UserError(f"there is no check {key[2]!r} of {key[0]} {key[1]!r} to waive")
    return found


def checks_of(noun: str) -> list[str]:
    """Return the names of the checks of components of this noun.

    >>> "vjp equals autograd" in checks_of("goodness")
    True
    """
    return [*checks.named("entry"), *(_used(noun))]


def run_check(noun: str, name: str, check: str, options: Options | None = None) -> None:
    """Run one check of one registered component, with its own examples or with ``options``.

    Raises:
        UserError: when the component or the check does not exist.
        AssertionError: when the component breaks its contract.
    """
    entry = manager.current().registry.get(noun, name)
    for one in examples_of(entry) if options is None else [options]:
        _find(noun, check)(Example(entry, one))


def _used(noun: str) -> list[str]:
    """Return the checks that need a constructed component."""
    no_module = (
        noun in {"dataset", "network", "optimizer", "lr_schedule", "strategy", "task"}
        or not NOUNS[noun].has_options
    )
    return [*checks.named(noun), *([] if no_module else checks.named("module"))]


def _scenes() -> dict[str, Callable[[Scene], None]]:
    start = "check_scene_"
    return {
        name.removeprefix(start).replace("_", " "): function
        for name, function in vars(scene).items()
        if name.startswith(start)
    }


def _of(entry: Entry, given: Sequence[Options] | None, recipe: str | None) -> list[Case]:
    whole = Example(entry)
    found = [Case(whole, check) for check in checks.named("entry")]
    if recipe is not None:
        return found + [Case(whole, check, scene=os.fspath(recipe)) for check in _scenes()]
    if not NOUNS[entry.noun].has_options:  # not constructed
        return found + [Case(whole, check) for check in checks.named(entry.noun)]
    if (needs := needed(entry)) is not None and find_spec(needs) is None:
        return found + [Case(whole, check, f"{needs} is not installed") for check in _used(entry.noun)]
    try:
        tried = examples_of(entry) if given is None else given
        if entry.noun == "dataset" and given is None and tried == [{}] and options_of(entry).model_fields:
            raise UserError(_ON_FILE)
    except UserError:  # the check "options can be tried" reports it; a data set may need the user's files
        if entry.noun != "dataset":
            return found
        return found + [Case(whole, check, _ON_FILE) for check in _used(entry.noun)]
    return found + [
        Case(Example(entry, options), check, "", number)
        for number, options in enumerate(tried)
        for check in _used(entry.noun)
    ]


def _key(case: Case) -> tuple[str, str, str]:
    return case.example.entry.noun, case.example.entry.name, case.check


def _skip(reason: str) -> None:
    import pytest  # only here: the kit works without it

    pytest.skip(reason)


def _find(noun: str, check: str) -> Check:
    known = {**checks.named("entry"), **checks.named("module"), **checks.named(noun)}
    if check not in known:
        raise UserError(f"there is no check {check!r} of {noun}{closest(check, checks_of(noun))}")
    return known[check]
