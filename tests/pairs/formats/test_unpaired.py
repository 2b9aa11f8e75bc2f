import re

import pytest

from preftune.pairs.formats.layout import Answer, Ranking, Unfit

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
A = {"role": "assistant", "content": "a"}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
GOOD, BAD = Answer(A, 1), Answer(A, 0)
TRL = {"prompt": "Q?", "completion": "a", "label": True}
KTO = {"messages": [USER, A], "label": True}
TURNS = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "a"}]


@pytest.mark.parametrize(
    ("name", "row", "ranking"),
    [
        ("trl-unpaired", TRL, Ranking([USER], [GOOD])),
        ("trl-unpaired", {"prompt": [USER], "completion": [A], "label": False, "tools": TOOLS, "id": 1},
         Ranking([USER], [Answer(A, 0, {"id": 1})], TOOLS)),
        ("trl-unpaired", TRL | {"system": "s"}, Ranking([SYSTEM, USER], [GOOD])),
        ("llamafactory-kto", KTO, Ranking([USER], [GOOD])),
        ("llamafactory-kto", {"messages": [USER, A], "kto_tag": False, "label": "x"},
         Ranking([USER], [Answer(A, 0, {"label": "x"})])),
        ("llamafactory-kto", {"conversations": TURNS, "kto_tag": False, "system": "s", "tools": TOOLS},
         Ranking([SYSTEM, USER], [BAD], TOOLS)),
        ("llamafactory-kto", {"instruction": "Q?", "input": "", "output": "a", "kto_tag": True},
         Ranking([USER], [GOOD])),
    ],
)  # fmt: skip
def test_single_answers_are_read(layouts, name, row, ranking):
    assert layouts[name].matches(row)
    assert layouts[name].read(row) == ranking


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("trl-unpaired", TRL | {"label": 1}, "label is 1; expected true or false"),
        ("trl-unpaired", TRL | {"prompt": None}, "prompt is null; expected a list of messages"),
        ("trl-unpaired", TRL | {"completion": [USER]}, "completion[0] is the user's; expected the assistant's"),
        ("llamafactory-kto", {}, "messages is null; expected a list of messages"),
        ("llamafactory-kto", {"messages": [A], "label": True},
         "messages is an answer alone; expected the context before it"),
        ("llamafactory-kto", {"messages": [A, USER], "label": True},
         "the end of messages[0] is the user's; expected the assistant's"),
        ("llamafactory-kto", {"instruction": "Q?", "kto_tag": True}, "output is missing; expected text"),
    ],
)  # fmt: skip
def test_what_is_no_single_answer_is_refused(layouts, name, row, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layouts[name].read(row)
