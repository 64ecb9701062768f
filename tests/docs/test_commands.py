"""The shell commands of the pages: verbs, options and recipes that exist. None of them is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ffcore.cli.main import group
from ffcore.cli.verbs import VERBS
from ffcore.plugin.manager import current
from ffcore.recipe.load import names
from tests.docs.pages import blocks, name, pages

FOLDERS = {recipe.partition("/")[0] for recipe in names()}
OF_THE_TUTORIAL = {"digits/mono"}


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """The words of every line that calls ffcore, with its number."""
    for block in blocks(page):
        if block.language in {"sh", "bash"}:
            for number, line in enumerate(block.code.splitlines(), block.line):
                # a line may end in an ellipsis, or set variables first
                words = shlex.split(re.sub(r"^(\w+=\S+ )+", "", line), comments=True)
                if words[:1] == ["ffcore"]:
                    yield number, words[1:]


PAGES = [page for page in pages() if any(commands(page))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_verbs_options_and_recipes_that_exist(page: Path) -> None:
    for number, words in commands(page):
        where = f"{name(page)}:{number}: ffcore {shlex.join(words)}"
        while words and words[0].startswith("-"):  # options of ffcore itself
            assert words[0] in {"--plugin", "--trust", "--debug", "--help", "--version"}, where
            del words[: 1 + (words[0] == "--plugin")]
        verb = words.pop(0) if words else "ls"
        assert verb in {*VERBS, *current().registry.names("command")}, where
        context = click.Context(group, info_name="ffcore", obj={"debug": False, "command": ""})
        command: Any = group.get_command(context, verb)
        if isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for word in words:
            if word.startswith("--"):
                assert word.partition("=")[0] in options, f"{where}: {word}"
            elif re.fullmatch(rf"({'|'.join(sorted(FOLDERS))})/[\w-]+", word):
                assert word in {*names(), *OF_THE_TUTORIAL}, f"{where}: {word}"
