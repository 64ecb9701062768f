"""The one table of what a plugin can register."""

from __future__ import annotations

from dataclasses import dataclass

from ffcore.errors import UserError, closest


@dataclass(frozen=True, slots=True)
class Noun:
    """One sort of component.

    Args:
        name: singular; the method of the registrar, and the key in code and messages.
        plural: for people.
        base: dotted target of the contract class, empty where there is none.
        what: one line for people.
        taken: names that ffcore uses itself.
        reserved: option names that a recipe writes into the same mapping as the component's options.
        supplied: arguments of the constructor that recipes do not write: the builder supplies them.
        has_options: whether recipes write options beside the kind.
    """

    name: str
    plural: str
    base: str
    what: str
    taken: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset({"kind"})
    supplied: frozenset[str] = frozenset({"in_shape"})
    has_options: bool = True

    @property
    def article(self) -> str:
        """The noun in a sentence: ``an objective``, ``a report section``."""
        an = self.name[0] in "aeiou" or self.name.startswith("lr_")
        return f"{'an' if an else 'a'} {self.name.replace('_', ' ')}"


_CONTRACTS = "ffcore.interfaces"
_ITEMS = "residual blackbox model"  # network items that ffcore has by itself


def _noun(
    name: str,
    base: str,
    what: str,
    *,
    plural: str = "",
    taken: str = "",
    reserved: str = "",
    supplied: str = "",
    has_options: bool = True,
) -> Noun:
    many = plural or f"{name.replace('_', ' ')}s"
    own, beside, given = (
        frozenset(text.split()) for text in (taken, f"kind {reserved}", f"in_shape {supplied}")
    )
    return Noun(name, many, base, what, own, beside, given, has_options)


NOUNS: dict[str, Noun] = {
    noun.name: noun
    for noun in (
        _noun("goodness", f"{_CONTRACTS}:Goodness", "how good a block finds an activity", plural="goodness"),
        _noun("objective", f"{_CONTRACTS}:Objective", "the local loss made of goodness"),
        _noun("penalty", f"{_CONTRACTS}:Penalty", "a term added to a local loss", plural="penalties"),
        _noun("loss", f"{_CONTRACTS}:LocalLoss", "a whole local loss of a block", plural="losses"),
        _noun("negative", f"{_CONTRACTS}:NegativeData", "where negative samples come from"),
        _noun("label", f"{_CONTRACTS}:LabelCode", "how a class is written into an input"),
        _noun("handoff", "torch.nn:Module", "what a block passes to the next one"),
        _noun(
            "body",
            "torch.nn:Module",
            "the module inside a block",
            plural="bodies",
            taken=_ITEMS,
            reserved="repeat name block",
        ),
        _noun(
            "network",
            f"{_CONTRACTS}:Items",
            "a whole network in one item",
            taken=_ITEMS,
            reserved="name block",
        ),
        _noun(
            "circuit",
            f"{_CONTRACTS}:Circuit",
            "blocks that see each other",
            taken=_ITEMS,
            reserved="name block blocks",
        ),
        _noun("contribution", f"{_CONTRACTS}:LayerContribution", "how layers vote"),
        _noun("schedule", f"{_CONTRACTS}:Schedule", "which blocks learn when"),
        _noun("readout", f"{_CONTRACTS}:Readout", "a classifier that reads what blocks hand on"),
        _noun("rule", f"{_CONTRACTS}:LearningRule", "how a block learns from its loss"),
        _noun("blackbox", f"{_CONTRACTS}:BlackBox", "anything callable between blocks", plural="blackboxes"),
        _noun("algorithm", f"{_CONTRACTS}:Algorithm", "views of a batch, and class scores"),
        _noun("task", f"{_CONTRACTS}:Task", "what the targets are, and how predictions are measured"),
        _noun("optimizer", "", "what steps a block's parameters", supplied="params"),
        _noun(
            "lr_schedule",
            "",
            "a factor on learning rates as a function of time",
            supplied="optimizer last_epoch",
        ),
        _noun(
            "dataset",
            "ffcore.data.images:Dataset",
            "samples with their targets",
            reserved="batch_size validation batches split_seed label_noise standardise augment transform "
            "groups",
        ),
        _noun("augmentation", f"{_CONTRACTS}:Augmentation", "small changes to samples"),
        _noun(
            "accelerator", "", "the sort of device that a run computes on", taken="auto", has_options=False
        ),
        _noun(
            "strategy",
            "",
            "how a run uses several devices",
            plural="strategies",
            taken="auto",
            supplied="batch balance cut timeout sync_batchnorm",
        ),
        _noun("recipe", "", "an experiment as a YAML file", has_options=False),
        _noun("report_section", "", "a part of a run's report", has_options=False),
        _noun(
            "command",
            "",
            "a verb of the command line",
            has_options=False,
            taken="ls show plugins schema validate new check cp run sweep eval predict export report",
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
    words = name.replace("-", " ").replace("_", " ")
    for noun in NOUNS.values():
        if words in (noun.name.replace("_", " "), noun.plural):
            return noun
    raise UserError(f"{name!r} is not a sort of component{closest(name, NOUNS)}")
