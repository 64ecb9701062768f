"""Files of tables: CSV and Parquet, read by pandas."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ffcore.errors import UserError, closest, first_line


def read_table(path: Path, texts: Sequence[str] = (), empty: bool = True) -> Any:
    """Return a table as a pandas data frame.

    Args:
        path: the file.
        texts: names of columns of text, which are not converted even if all their cells are numbers.
        empty: whether cells such as NA count as empty.

    Raises:
        UserError: the file is missing or no table, or pandas is not installed.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; it should be a table")
    try:
        import pandas
    except ImportError as error:
        raise UserError("tables are read by pandas: pip install 'ffcore[tables]'") from error
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pandas.read_parquet(path)
        if suffix in (".csv", ".tsv"):
            sep, types = "\t" if suffix == ".tsv" else ",", dict.fromkeys(texts, str)
            with warnings.catch_warnings():
                # without index_col pandas would shift the columns of rows that are too long
                warnings.simplefilter("error", pandas.errors.ParserWarning)
                made = pandas.read_csv(path, sep=sep, dtype=types, index_col=False, keep_default_na=empty)
            _refuse_separator(path, list(map(str, made.columns)))
            return made
    except UserError:
        raise
    except pandas.errors.ParserWarning as error:
        raise UserError(f"{path}: rows have more cells than the header has names") from error
    except ImportError as error:
        raise UserError("Parquet files are read by pyarrow: pip install 'ffcore[tables]'") from error
    except Exception as error:  # of pandas' parsers, which have classes of their own
        raise UserError(f"{path}: not a table: {first_line(error)}") from error
    raise UserError(f"{path}: should be a .csv, .tsv or .parquet file")


def refuse_columns(what: Any, known: Iterable[Any], names: Sequence[str]) -> None:
    """Raise if a table lacks columns.

    Args:
        what: a name for messages, such as the path of the file.
        known: names of the columns that there are.
        names: names of the columns that are needed.

    Raises:
        UserError: with the name that is missing, and the closest one.
    """
    there = list(map(str, known))
    for name in names:
        if name not in there:
            raise UserError(f"{what}: there is no column {name!r}{closest(name, there)}")


def _refuse_separator(path: Path, names: list[str]) -> None:
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise UserError(
            f"{path}: has one column, {names[0]!r}; cells of .csv are separated by commas, of .tsv by tabs"
        )
