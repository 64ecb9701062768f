"""A study of Optuna: the trials of a search, in a storage that several workers may share.

The only module that imports Optuna, which is an optional part of ffcore.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ffcore.errors import RunError, UserError, first_line
from ffcore.sweeps.ranges import Range, text_of
from ffcore.sweeps.search import Search, State, Trial, without_password
from ffcore.sweeps.wording import option

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError
except ImportError as missing:
    raise UserError("a search needs Optuna: pip install 'ffcore[sweep]'") from missing

STALE_S = 300.0
"""Seconds without a sign of life after which the running trial of another worker is given up."""
ALIVE_S = 30.0
"""Seconds between two signs of life."""
_ATTEMPTS = 4
_ATTRIBUTE = "ffcore"
_GIVEN_UP = "given up"
_ERROR = "error"
_LONGEST = 1000
"""Characters of an error in the storage; MySQL stores at most 2047 of an attribute."""
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


class Study:
    """The study of a search.

    Args:
        search: what is searched.
        recipe: name or path of the recipe, for messages.
        folder: the directory of this worker's runs.
        begun: whether the study should exist already.

    Raises:
        UserError: the storage cannot be opened, or its study is that of another search.
    """

    def __init__(self, search: Search, recipe: str, folder: Path, *, begun: bool) -> None:
        self.search = search
        self._recipe = recipe
        self.url = search.url or search.storage or f"sqlite:///{(folder / 'study.db').absolute()}"
        self._worker = {"host": socket.gethostname(), "folder": str(folder.absolute())}
        self._file = _file(self.url)
        self._alive = 0.0
        if begun and self._file is not None and not self._file.exists():
            where = without_password(self.url)
            raise UserError(
                f"{where}: the storage of the search is gone; if it has moved: {option('storage', 'URL')}"
            )
        with _quiet(), self._opening():
            self._storage = _storage(self.url)
            self._pruner = optuna.pruners.MedianPruner()
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=search.study,
                direction="minimize" if search.lower else "maximize",
                pruner=self._pruner,
                load_if_exists=True,
            )
            self._id = self._storage.get_study_id_from_name(search.study)
            self._refuse_others()
            self._distributions = {path: _distribution(one) for path, one in search.parsed().items()}

    def close(self) -> None:
        """Close the connections to the storage."""
        self._storage.remove_session()

    def ask(self) -> tuple[int, dict[str, str]] | None:
        """Returns the number and the values of a new trial; None if the study has all its trials."""
        with self._using():
            self._give_up_stale()
            counted = [one for one in self._trials() if _GIVEN_UP not in one.user_attrs]
            if len(counted) >= self.search.trials:
                return None
            trial = self._study.ask()
            trial.set_user_attr("worker", self._worker)
            trial.set_user_attr("alive", time.time())
            # another worker may have asked at the same time: the trials with the lowest numbers are kept
            before = [one for one in self._trials() if one.number < trial.number]
            if sum(_GIVEN_UP not in one.user_attrs for one in before) >= self.search.trials:
                self._give_up(trial.number)
                return None
            # A sampler for each trial: a search that is resumed continues as if it had not been interrupted.
            self._study.sampler = self._sampler(trial.number)
            for path, distribution in self._distributions.items():
                _suggest(trial, path, distribution)
            return trial.number, {path: text_of(value) for path, value in trial.params.items()}

    def report(self, number: int, values: Mapping[int, float]) -> bool:
        """Store the validation values of a running trial by epoch; returns whether to prune it."""
        with self._using():
            trial = self._trial(number)
            if trial.state.is_finished():  # given up by another worker
                return False
            for epoch, value in values.items():
                if epoch not in trial.intermediate_values:
                    self._storage.set_trial_intermediate_value(self._id_of(number), epoch, value)
            return self._pruner.prune(self._study, self._trial(number))

    def alive(self, numbers: Sequence[int]) -> None:
        """Give a sign of life of running trials, if the last one is old."""
        if time.time() - self._alive < ALIVE_S:
            return
        with self._using():
            self._alive = time.time()
            for number in numbers:
                if not self._trial(number).state.is_finished():
                    self._storage.set_trial_user_attr(self._id_of(number), "alive", self._alive)

    def tell(
        self, number: int, state: State, value: float | None = None, *, error: str | None = None
    ) -> None:
        """End a trial: "done" with a value, "pruned" or "failed", with an error that no run has.

        A trial that another worker has given up gets a second entry: its result is not lost.
        """
        to = next(key for key, name in _STATES.items() if name == state)
        with self._using():
            trial = self._trial(number)
            if not trial.state.is_finished():
                if error is not None:
                    self._storage.set_trial_user_attr(self._id_of(number), _ERROR, error[:_LONGEST])
                self._study.tell(number, value, state=to)
            elif _GIVEN_UP in trial.user_attrs and state == "done" and "again" not in trial.user_attrs:
                again = optuna.trial.create_trial(
                    state=to,
                    value=value,
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs={"worker": self._worker, "again": number},
                )
                self._study.add_trial(again)

    def drop_unknown(self, known: Sequence[int]) -> None:
        """Give up this worker's running trials that its summary lacks: it was killed before they began."""
        with self._using():
            for one in self._trials():
                ours = one.user_attrs.get("worker") == self._worker
                if ours and not one.state.is_finished() and one.number not in known:
                    self._give_up(one.number)

    def trials(self) -> list[Trial]:
        """Returns all trials of the study, by all workers, without those that were given up."""
        with self._using():
            return [
                Trial(
                    number=one.user_attrs.get("again", one.number),
                    state=_STATES[one.state],
                    value=one.value if one.state is TrialState.COMPLETE else _last(one),
                    values={path: text_of(value) for path, value in one.params.items()},
                    worker=_name(one.user_attrs.get("worker"), self._worker),
                    error=one.user_attrs.get(_ERROR),
                )
                for one in self._trials()
                if _GIVEN_UP not in one.user_attrs
            ]

    def importance(self) -> dict[str, float] | None:
        """Returns the importance of each parameter by PED-ANOVA, their sum 1; None with too few trials."""
        with self._using(), _quiet():
            done = [one for one in self._trials() if one.state is TrialState.COMPLETE]
            if len(done) < 2 or len({one.value for one in done}) < 2 or len(self._distributions) < 2:
                return None
            return dict(optuna.importance.get_param_importances(self._study))

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _id_of(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._id, number)

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._id_of(number))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = (self.search.seed * 1_000_003 + number) % 2**32
        if self.search.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _give_up_stale(self) -> None:
        for one in self._trials():
            if one.state.is_finished() or one.user_attrs.get("worker") == self._worker:
                continue
            began = one.datetime_start.timestamp() if one.datetime_start is not None else 0.0
            if time.time() - one.user_attrs.get("alive", began) > STALE_S:
                self._give_up(one.number)

    def _give_up(self, number: int) -> None:
        self._storage.set_trial_user_attr(self._id_of(number), _GIVEN_UP, True)
        self._study.tell(number, state=TrialState.FAIL)

    def _refuse_others(self) -> None:
        """Raise if the study in the storage is not that of this search; a new one is marked as ours."""
        ours = self.search.identity(self._recipe)
        name = f"study {self.search.study!r} in {without_password(self.url)}"
        attributes = self._study.user_attrs
        if not attributes and not self._study.get_trials(deepcopy=False):
            self._study.set_user_attr(_ATTRIBUTE, json.dumps(ours))
            attributes = self._study.user_attrs
        if _ATTRIBUTE not in attributes:
            raise UserError(
                f"{name} was not made by ffcore; give another name with {option('study', 'NAME')}"
            )
        theirs: dict[str, Any] = json.loads(attributes[_ATTRIBUTE])
        for key in ("ranges", "seeds", "digest"):
            if theirs.get(key) == ours[key]:
                continue
            shown = "recipe" if key == "digest" else key
            if theirs.get(shown) == ours[shown]:
                difference = f"its recipe {ours['recipe']} has other values or overrides"
            else:
                difference = f"it has the {shown} {_listed(theirs.get(shown))}, not {_listed(ours[shown])}"
            raise UserError(
                f"{name} is another search: {difference}; give another name with {option('study', 'NAME')}"
            )

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, OSError) as error:
            raise UserError(
                f"{option('storage', without_password(self.url))}: cannot be opened: {_reason(error)}"
            ) from error

    @contextmanager
    def _using(self) -> Iterator[None]:
        gone = f"{without_password(self.url)}: the storage of the search"
        if self._file is not None and not self._file.exists():
            raise RunError(f"{gone} is gone")
        try:
            with _quiet():
                yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError, OSError) as error:
            raise RunError(f"{gone} has failed: {_reason(error)}") from error


def _storage(url: str) -> RDBStorage:
    for attempt in range(_ATTEMPTS):
        try:
            return RDBStorage(url, _engine_options(url))
        except (DBAPIError, optuna.exceptions.StorageInternalError):
            # two workers that start at the same time make the same tables
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(0.2 * (attempt + 1))
    raise AssertionError


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's own lines about new studies and trials."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
    if isinstance(error, ImportError):
        return f"{first_line(error)} (the driver of the data base is a package of its own)"
    return first_line(cause)


def _file(url: str) -> Path | None:
    """Returns the file of an SQLite storage; None for a server."""
    path = url.removeprefix("sqlite:///")
    return Path(path) if path != url and path and path != ":memory:" else None


def _engine_options(url: str) -> dict[str, Any] | None:
    # workers that write at the same time wait for each other
    return {"connect_args": {"timeout": 60}} if url.startswith("sqlite:") else None


def absolute_url(url: str) -> str:
    """Returns a storage URL that is valid in every directory."""
    file = _file(url)
    return url if file is None else f"sqlite:///{os.path.abspath(file)}"


def _distribution(searched: Range) -> BaseDistribution:
    if searched.word == "choice":
        return CategoricalDistribution(searched.choices)
    if searched.word == "int":
        return IntDistribution(int(searched.low), int(searched.high))
    return FloatDistribution(searched.low, searched.high, log=searched.word == "log")


def _suggest(trial: optuna.Trial, path: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(path, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(path, distribution.low, distribution.high)
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(path, distribution.low, distribution.high, log=distribution.log)


def _last(trial: FrozenTrial) -> float | None:
    known = trial.intermediate_values
    return known[max(known)] if known else None


def _name(worker: Mapping[str, str] | None, ours: Mapping[str, str]) -> str | None:
    """Returns where a trial of another worker is; None for our own."""
    if worker is None or worker == ours:
        return None if worker == ours else "unknown"
    return f"{worker['host']}:{worker['folder']}"


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{path}={text}" for path, text in value.items())
    return (",".join(map(str, value)) or "of the recipe") if isinstance(value, list) else str(value)
