import json
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import PreferencePair, scan
from preftune.pairs.pair import message_text
from preftune.pairs.rules import similar
from preftune.pairs.rules.style import FEATURES, features
from preftune.pairs.summary import Place
from preftune.pairs.survey import counted_rank, join, prompt_text, read_places, survey
from preftune.pairs.tokens import Budget

BUDGET = Budget(lambda text: len(text.split()), 40)


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def row(prompt, chosen, rejected, **more):
    messages = prompt if isinstance(prompt, list) else [message("user", prompt)]
    return {
        "input": {"messages": messages},
        "preferred_output": [message("assistant", chosen)],
        "non_preferred_output": [message("assistant", rejected)],
        **more,
    }


def surveyed(path, places=None, **options):
    places = scan(path).sample if places is None else places
    return survey(path, places, BUDGET, **{"last_counted": 2**64} | options)


def columns(found):
    """Return all that a survey holds as plain values."""
    plain = {field.name: getattr(found, field.name) for field in fields(found)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value.findings() if name == "problems" else value
        for name, value in plain.items()
    }


def test_a_survey_holds_what_was_measured_in_the_order_of_the_lines(write_rows):
    system = [message("system", "Be brief."), message("user", "Which is the capital?"), message("assistant", "Of?")]
    path = write_rows(
        row("What is a prime number?", "What is a prime number? A number.", "- **One**"),
        row([*system, message("user", "France")], "Sure, it is Paris", "Rome!"),
    )
    found = surveyed(path)
    assert len(found) == 2
    assert found.turns.tolist() == [1, 4]
    assert found.prompt_characters.tolist() == [23, 9 + 21 + 3 + 6]
    assert found.chosen_characters.tolist() == [33, 17]
    assert found.rejected_characters.tolist() == [9, 5]
    assert found.tokens.tolist() == [2 * 10 + (7 + 5) + (2 + 5), 2 * (2 + 4 + 1 + 1 + 4 * 5) + (4 + 5) + (1 + 5)]
    assert found.closed.tolist() == [[True, True], [False, True]]
    assert found.echoes.tolist() == [True, False]
    assert found.overlapping.tolist() == [False, False]
    assert found.features.tolist() == [
        [features("A number."), features("- **One**")], [features("Sure, it is Paris"), features("Rome!")],
    ]  # fmt: skip
    assert found.heads == (["What is a prime number? A number.", "Sure, it is Paris"], ["- **One**", "Rome!"])
    assert found.tails == ([".rebmun A ?rebmun emirp a si tahW", "siraP si ti ,eruS"], ["**enO** -", "!emoR"])
    assert found.prompts.tolist() == list(scan(path).prompts)
    assert np.array_equal(found.signatures[1], similar.signature("Which is the capital?\nOf?\nFrance"))
    assert found.problems.findings() == []


def test_a_survey_keeps_64_characters_of_each_edge(write_rows):
    found = surveyed(write_rows(row("Q?", "a" * 60 + "b" * 60, "c")))
    assert (found.heads, found.tails) == ((["a" * 60 + "bbbb"], ["c"]), (["b" * 60 + "aaaa"], ["c"]))


def test_a_survey_runs_the_rules_of_the_sample_and_names_the_line(write_rows):
    long = " ".join(["word"] * 50)
    path = write_rows(row("Q?", "yes", "no"), row("P?", "<|im_start|>", "ada@example.org"), row("R?", long, "no"))
    assert [(each.rule, each.lines) for each in surveyed(path).problems.findings()] == [
        ("template", (2,)), ("truncation", (3,)), ("secrets", (2,)),
    ]  # fmt: skip


def test_a_survey_looks_at_the_first_20_000_characters_for_form(write_rows):
    found = surveyed(write_rows(row("Q?", "a" * 20_000 + "!", "a" * 19_999 + "!")))
    at = FEATURES.index("an exclamation mark")
    assert found.features[0, :, at].tolist() == [False, True]
    assert found.chosen_characters.tolist() == [20_001]


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "echoed"),
    [
        ("What is it now?", "What is it now? A cat.", "No.", True),
        ("What is it now?", "No.", " \nWhat is it now? A cat.", True),
        ("  What is it now?\n", "What is it now?", "No.", True),
        ("What is it now?", "So: What is it now?", "No.", False),
        ("What is it?", "What is it? A cat.", "No.", False),  # 11 characters
        ("What is it??", "What is it?? A cat.", "No.", True),  # 12
        ([message("user", "What is it now?"), message("tool", "A cat.")], "What is it now?", "No.", False),
        ([message("user", [{"type": "text", "text": "What is it now?"}])], "What is it now?!", "No.", True),
    ],
)
def test_an_echo_is_the_last_message_at_the_beginning_of_an_answer(write_rows, prompt, chosen, rejected, echoed):
    assert surveyed(write_rows(row(prompt, chosen, rejected))).echoes.tolist() == [echoed]


def test_tokens_are_counted_up_to_a_rank(write_rows):
    path = write_rows(*(row(f"Q {number}?", "yes", "no") for number in range(5)))
    places = scan(path).sample
    found = surveyed(path, last_counted=places[1].rank)
    counted = {place.line for place in places[:2]}
    assert found.tokens.tolist() == [26 if line in counted else -1 for line in range(1, 6)]


def test_overlap_is_looked_for_among_the_known_runs_of_words(write_rows):
    words = [f"word{number}" for number in range(40)]
    path = write_rows(row(" ".join(words[:20]), "yes", "no"), row(" ".join(words[::-1]), "yes", "no"))
    known = similar.all_grams([" ".join(words[5:30])])
    assert surveyed(path, known=known).overlapping.tolist() == [True, False]
    assert surveyed(path, known=similar.all_grams([])).overlapping.tolist() == [False, False]


def test_a_survey_of_no_places_has_every_column_in_its_shape(write_rows):
    found = surveyed(write_rows(row("Q?", "a", "b")), [])
    assert len(found) == 0
    assert (found.signatures.shape, found.features.shape, found.closed.shape) == (
        (0, similar.SLOTS), (0, 2, len(FEATURES)), (0, 2),
    )  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(cuts=st.sets(st.integers(0, 12), max_size=4))
def test_parts_of_a_sample_add_up_to_the_survey_of_all(tmp_path_factory, cuts):
    path = tmp_path_factory.mktemp("parts") / "pairs.jsonl"
    rows = [row(f"Question {n}?", f"Answer <|im_end|> {n}" * (n + 1), f"{n}@example.org") for n in range(12)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    places = sorted(scan(path).sample, key=lambda place: place.line)
    bounds = [0, *sorted(cuts), 12]
    last = counted_rank(places)
    parts = [surveyed(path, places[a:b], last_counted=last) for a, b in pairwise(bounds)]
    assert columns(join(parts)) == columns(surveyed(path, places, last_counted=last))


def test_read_places_gives_the_pairs_in_the_order_of_their_lines(write_bytes):
    rows = [row("é", "a", "b"), row("Q?", "c", "d", weight=2), row("R?", [{"type": "text", "text": "e"}], "f", id=7)]
    lines = [json.dumps(each, ensure_ascii=False).encode() for each in rows]
    path = write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\r\n\n" + lines[1] + b"\n" + lines[2])
    places = scan(path).sample
    found = list(read_places(path, places[::-1]))
    assert [place.line for place, _ in found] == [1, 3, 4]
    assert {place for place, _ in found} == set(places)
    assert [pair for _, pair in found] == [
        PreferencePair(
            each["input"]["messages"], each["preferred_output"][0], each["non_preferred_output"][0],
            weight=each.get("weight"), meta={"id": 7} if "id" in each else {},
        )
        for each in rows
    ]  # fmt: skip


@pytest.mark.parametrize("after", [b"", b"{}", b"no JSON", b"[1]", b'{"input": 1}', b'{"text": "t"}'])
def test_a_file_that_changed_since_it_was_scanned_is_a_data_error(write_rows, after):
    path = write_rows(row("Q?", "yes", "no"), row("R?", "yes", "no"))
    places = scan(path).sample
    path.write_bytes(after + b"\n" + path.read_bytes()[len(after) + 1 :] if after else b"")
    told = r"pairs.*: expected the pairs that were just read, found others; it changes: copy it first$"
    with pytest.raises(DataError, match=told):
        list(read_places(path, places))


def test_prompt_text_is_what_is_asked_without_system_messages():
    prompt = [
        message("system", "Be brief."),
        message("user", "One?"),
        message("assistant", None),
        message("user", "Two?"),
    ]
    pair = PreferencePair(prompt, message("assistant", "a"), message("assistant", "b"))
    assert prompt_text(pair) == "One?\n\nTwo?"
    assert message_text(prompt[2]) == ""


@pytest.mark.parametrize(("count", "rank"), [(0, 0), (1, 10), (2, 20), (500, 5_000), (501, 5_000), (2_000, 5_000)])
def test_the_tokens_of_the_first_500_of_the_sample_are_counted(count, rank):
    assert counted_rank([Place(10 * number, number, 0, 0) for number in range(1, count + 1)]) == rank
