"""The one table of what a plugin can bring."""

from __future__ import annotations

from dataclasses import dataclass

from ffcore.errors import UserError, closest


@dataclass(frozen=True, slots=True)
class Noun:
    """One sort of component.

    Args:
        name: singular, the key used in code and in messages.
        hook: the hook that registers components of this sort.
        base: dotted target of the contract class, empty where there is none.
        what: one line for people.
        taken: names that ffcore keeps for itself.
        reserved: option names that a recipe writes into the same mapping as the component's options.
    """

    name: str
    hook: str
    base: str
    what: str
    taken: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset({"kind"})

    @property
    def plural(self) -> str:
        """The ending of the hook's name, with spaces: ``report sections``."""
        return self.hook.removeprefix("ffcore_register_").replace("_", " ")

    @property
    def article(self) -> str:
        """The noun as a sentence has it: ``an objective``, ``a report section``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name.replace('_', ' ')}"


def _noun(name: str, plural: str, base: str, what: str, taken: str = "", reserved: str = "") -> Noun:
    hook = f"ffcore_register_{plural}"
    return Noun(name, hook, base, what, frozenset(taken.split()), frozenset(["kind", *reserved.split()]))


_CONTRACTS = "ffcore.interfaces"

NOUNS: dict[str, Noun] = {
    noun.name: noun
    for noun in (
        _noun("goodness", "goodness", f"{_CONTRACTS}:Goodness", "how good a block finds an activity"),
        _noun("objective", "objectives", f"{_CONTRACTS}:Objective", "the local loss made of goodness"),
        _noun("penalty", "penalties", f"{_CONTRACTS}:Penalty", "a term added to a local loss"),
        _noun("negative", "negatives", f"{_CONTRACTS}:NegativeData", "where negative samples come from"),
        _noun("label", "labels", f"{_CONTRACTS}:LabelCode", "how a class is written into an input"),
        _noun("handoff", "handoffs", "torch.nn:Module", "what a block hands to the next one"),
        _noun(
            "body",
            "bodies",
            "torch.nn:Module",
            "the module inside a block",
            taken="residual blackbox model",
            reserved="repeat name block",
        ),
        _noun(
            "network",
            "networks",
            f"{_CONTRACTS}:Items",
            "a whole network in one item",
            taken="residual blackbox model",
            reserved="name block",
        ),
        _noun(
            "circuit",
            "circuits",
            f"{_CONTRACTS}:Circuit",
            "blocks that see each other",
            taken="residual blackbox model",
            reserved="name block blocks",
        ),
        _noun("contribution", "contributions", f"{_CONTRACTS}:LayerContribution", "how layers vote"),
        _noun("schedule", "schedules", f"{_CONTRACTS}:Schedule", "which blocks learn when"),
        _noun("readout", "readouts", f"{_CONTRACTS}:Readout", "a classifier that listens to blocks"),
        _noun("rule", "rules", f"{_CONTRACTS}:LearningRule", "how a block learns from its loss"),
        _noun("blackbox", "blackboxes", f"{_CONTRACTS}:BlackBox", "anything callable between blocks"),
        _noun("algorithm", "algorithms", f"{_CONTRACTS}:Algorithm", "views of a batch, and class scores"),
        _noun(
            "dataset",
            "datasets",
            "ffcore.data.images:Dataset",
            "labelled images",
            reserved="batch_size validation split_seed standardise augment groups",
        ),
        _noun("augmentation", "augmentations", f"{_CONTRACTS}:Augmentation", "small changes to samples"),
        _noun("recipe", "recipes", "", "an experiment as a YAML file"),
        _noun("report_section", "report_sections", "", "a part of a run's report"),
        _noun(
            "command",
            "commands",
            "",
            "a verb of the command line",
            taken="ls show plugins schema validate cp run eval report",
        ),
    )
}


def find_noun(name: str) -> Noun:
    """The noun of this name, singular or plural.

    >>> find_noun("penalties").name
    'penalty'

    Raises:
        UserError: there is no such noun.
    """
    for noun in NOUNS.values():
        if name.replace("-", " ").replace("_", " ") in (noun.name.replace("_", " "), noun.plural):
            return noun
    raise UserError(f"{name!r} is not a sort of component{closest(name, NOUNS)}")
