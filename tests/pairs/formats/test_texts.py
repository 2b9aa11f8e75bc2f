import re

import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import Tie, Unfit

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
PAIR, WITH_SYSTEM = PreferencePair([USER], CHOSEN, REJECTED), PreferencePair([SYSTEM, USER], CHOSEN, REJECTED)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
ALPACA = {"instruction": "Q?", "input": "", "chosen": "a", "rejected": "b"}
ORCA = {"input": "Q?", "chosen": "a", "rejected": "b", "status": "unchanged"}
NEMO = {
    "prompt": "<extra_id_1>User\nQ?\n<extra_id_1>Assistant\n",
    "chosen_response": "a\n<extra_id_1>",
    "rejected_response": "b",
}
HH = {"chosen": "\n\nHuman: Q?\n\nAssistant: a", "rejected": "\n\nHuman: Q?\n\nAssistant: b"}
SPLIT = {"prompt": "\n\nHuman: Q?\n\nAssistant:", "chosen": " a", "rejected": " b"}
AXOLOTL = {"messages": [USER], "chosen": CHOSEN, "rejected": REJECTED}


@pytest.mark.parametrize(
    ("name", "row", "pair"),
    [
        ("alpaca", ALPACA, PAIR),
        ("alpaca", {"instruction": "Q?", "output": ["a", "b"]}, PAIR),
        ("alpaca", ALPACA | {"system": "s", "history": None, "id": 1},
         PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, meta={"id": 1})),
        ("alpaca", ALPACA | {"history": [["Q?", "a"]], "tools": TOOLS},
         PreferencePair([USER, CHOSEN, USER], CHOSEN, REJECTED, TOOLS)),
        ("alpaca", ALPACA | {"input": "x"}, PreferencePair([{"role": "user", "content": "Q?\nx"}], CHOSEN, REJECTED)),
        ("axolotl", AXOLOTL, PAIR),
        ("axolotl", AXOLOTL | {"tools": TOOLS, "id": 1},
         PreferencePair([USER], CHOSEN, REJECTED, TOOLS, meta={"id": 1})),
        ("chatml-argilla", {"instruction": "Q?", "chosen_response": "a", "rejected_response": "b", "system": "s"},
         WITH_SYSTEM),
        ("intel", {"system": "s", "question": "Q?", "chosen": "a", "rejected": "b"}, WITH_SYSTEM),
        ("icr", {"system": "", "input": "Q?", "chosen": "a", "rejected": "b"}, PAIR),
        ("orca", ORCA, PAIR),
        ("orca", ORCA | {"status": "swapped", "system": "s"}, WITH_SYSTEM),
        ("nemo-aligner", NEMO, PAIR),
        ("hh", HH, PAIR),
        ("hh", HH | {"prompt": None, "id": 1}, PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 1})),
        ("hh", SPLIT, PAIR),
    ],
)  # fmt: skip
def test_texts_are_read(layouts, name, row, pair):
    assert layouts[name].matches(row)
    assert layouts[name].read(row) == pair


DIFFER = "chosen and rejected differ before their last message; expected one context"


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("alpaca", {"instruction": "Q?", "output": ["a"]},
         "output is a list of 1; expected the chosen and the rejected text"),
        ("alpaca", {"instruction": "Q?", "output": "a"}, "chosen is missing; expected text"),
        ("alpaca", ALPACA | {"input": 5}, "input is a number; expected text"),
        ("alpaca", ALPACA | {"history": "Q?"}, "history[0] is text; expected a list of two texts"),
        ("alpaca", ALPACA | {"history": [["Q?"]]}, "history[0] is a list; expected a list of two texts"),
        ("axolotl", AXOLOTL | {"rejected": USER}, "rejected is the user's; expected the assistant's"),
        ("intel", {"question": "Q?", "chosen": ["a"], "rejected": "b"}, "chosen is a list; expected text"),
        ("orca", ORCA | {"status": None}, "status is null; expected 'tie' or 'swapped' or 'unchanged'"),
        ("nemo-aligner", NEMO | {"rejected_response": None}, "rejected_response is null; expected text"),
        ("hh", {"chosen": HH["chosen"], "rejected": "\n\nHuman: Q!\n\nAssistant: b"}, DIFFER),
        ("hh", {"chosen": HH["chosen"], "rejected": HH["rejected"] + "\n\nHuman: And?\n\nAssistant: b"}, DIFFER),
        ("hh", {"chosen": "\n\nHuman: Q?", "rejected": "\n\nHuman: Q?"},
         "chosen is an answer alone; expected the context before it"),
        ("hh", {"chosen": HH["chosen"] + "\n\nHuman: Q?", "rejected": HH["chosen"] + "\n\nHuman: Q!"},
         "chosen[0] is the user's; expected the assistant's"),
        ("hh", HH | {"prompt": 1}, "prompt is a number; expected text"),
    ],
)  # fmt: skip
def test_texts_are_refused_with_a_reason(layouts, name, row, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layouts[name].read(row)


def test_answers_that_begin_alike_are_not_cut(layouts):
    row = {key: f"\n\nHuman: Q?\n\nAssistant: I say {end}" for key, end in (("chosen", "yes"), ("rejected", "you"))}
    pair = layouts["hh"].read(row)
    assert (pair.prompt, pair.chosen_text, pair.rejected_text) == ([USER], "I say yes", "I say you")


def test_orca_says_which_rows_are_ties(layouts):
    with pytest.raises(Tie, match=r"^status is 'tie'$"):
        layouts["orca"].read(ORCA | {"status": "tie"})
