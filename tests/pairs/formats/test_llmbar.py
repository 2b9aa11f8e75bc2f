import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.formats import llmbar

ROW = {"input": "Q?", "output_1": "one", "output_2": "two", "label": 1}
USER = {"role": "user", "content": "Q?"}
ONE, TWO = {"role": "assistant", "content": "one"}, {"role": "assistant", "content": "two"}


def test_read_takes_the_label_for_the_number_of_the_better_output():
    assert llmbar.read(ROW) == PreferencePair([USER], ONE, TWO)
    assert llmbar.read(ROW | {"label": 2}) == PreferencePair([USER], TWO, ONE)


def test_read_keeps_the_other_keys_as_meta():
    assert llmbar.read(ROW | {"id": 7}).meta == {"id": 7}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": 0}, "label is 0; expected 1 or 2"),
        ({"label": "1"}, "label is '1'; expected 1 or 2"),
        ({"label": True}, "label is True; expected 1 or 2"),
        ({"label": None}, "label is None; expected 1 or 2"),
        ({"label": [1]}, r"label is \[1\]; expected 1 or 2"),
        ({"input": None}, "input is null; expected text"),
        ({"output_1": ["one"]}, "output_1 is a list; expected text"),
        ({"output_2": 2}, "output_2 is a number; expected text"),
    ],
)
def test_read_says_why_a_row_holds_no_pair(changes, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        llmbar.read(ROW | changes)


@pytest.mark.parametrize("key", sorted(ROW))
def test_matches_a_row_with_all_four_keys(key):
    assert llmbar.matches(ROW)
    assert not llmbar.matches({name: value for name, value in ROW.items() if name != key})
