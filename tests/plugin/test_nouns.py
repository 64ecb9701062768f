import pytest

from ffcore.errors import UserError
from ffcore.plugin.nouns import NOUNS, find_noun
from ffcore.recipe.data import DataConfig
from ffcore.recipe.network import BlockItem, NetItem


def test_a_noun_is_found_by_singular_and_plural():
    assert find_noun("penalty") is find_noun("penalties") is NOUNS["penalty"]
    assert find_noun("report-sections") is NOUNS["report_section"]


def test_an_unknown_noun_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'goodness'"):
        find_noun("godness")


@pytest.mark.parametrize(
    ("noun", "model"), [("dataset", DataConfig), ("body", BlockItem), ("network", NetItem)]
)
def test_options_cannot_have_reserved_names(noun, model):
    assert NOUNS[noun].reserved == {"kind", *model.own()}
