"""Check the laws of the demo data that `preftune.recipes.demo_data.make` writes."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from preftune.recipes.demo_data import make

FOLDER = Path(make.__file__).parent
PAIRS = {"train.jsonl": 300, "heldout.jsonl": 80}
MARKS = {
    "a digit": r"\d",
    "a comma": ",",
    "a semicolon": ";",
    "a colon": ":",
    "a quotation mark": '"',
    "a question mark": r"\?",
    "an exclamation mark": "!",
    "a question mark at the end": r"\?$",
}

Row = dict[str, Any]


def rows_of(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def answers(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row["preferred_output"][0]["content"], row["non_preferred_output"][0]["content"]) for row in rows]


def prompts(rows: list[Row]) -> list[str]:
    return [json.dumps(row["input"]["messages"]) for row in rows]


def user_texts(rows: list[Row]) -> set[str]:
    return {message["content"] for row in rows for message in row["input"]["messages"] if message["role"] == "user"}


def sentences(texts: set[str]) -> set[str]:
    """Split into sentences, with every number replaced by a placeholder."""
    parts = (part for text in texts for part in re.split(r"[.!?]", re.sub(r"\d+", "#", text)))
    return {part.strip().lower() for part in parts if part.strip()}


def answer_sentences(rows: list[Row]) -> set[str]:
    return sentences({text for pair in answers(rows) for text in pair})


def share_longer(pairs: list[tuple[int, int]]) -> float:
    return sum((left > right) + 0.5 * (left == right) for left, right in pairs) / len(pairs)


def features(text: str) -> set[str]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    marks = {mark for mark, pattern in MARKS.items() if re.search(pattern, text)}
    return {*words, *re.findall(r"[a-z']+", text.lower()), f"first word {words[0]}", *marks}


def presence_auc(rows: list[Row]) -> dict[str, float]:
    """Return, for each feature, how well its presence alone tells the sides apart."""
    preferred = Counter(feature for text, _ in answers(rows) for feature in features(text))
    non_preferred = Counter(feature for _, text in answers(rows) for feature in features(text))
    return {
        feature: 0.5 + 0.5 * abs(preferred[feature] - non_preferred[feature]) / len(rows)
        for feature in preferred | non_preferred
    }


@pytest.mark.parametrize("name", PAIRS)
def test_every_line_is_one_pair_in_the_documented_format(name: str) -> None:
    rows = rows_of(name)
    assert len(rows) == PAIRS[name]
    for row in rows:
        assert list(row) == ["input", "preferred_output", "non_preferred_output"]
        roles = [message["role"] for message in row["input"]["messages"] if message["role"] != "system"]
        assert roles in (["user"], ["user", "assistant", "user"])
        assert all(message["role"] != "system" for message in row["input"]["messages"][1:])
        for side in ("preferred_output", "non_preferred_output"):
            (message,) = row[side]
            assert message["role"] == "assistant"
            assert 60 <= len(message["content"]) <= 320


def test_the_script_writes_both_files_beside_itself(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "__file__", str(tmp_path / "make.py"))
    make.main()
    for name in ("train.jsonl", "heldout.jsonl"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_the_committed_files_are_what_the_generator_builds() -> None:
    train, heldout = make.build()
    assert (FOLDER / "train.jsonl").read_bytes() == make.to_jsonl(train).encode()
    assert (FOLDER / "heldout.jsonl").read_bytes() == make.to_jsonl(heldout).encode()


def test_building_twice_gives_the_same_rows() -> None:
    assert make.build() == make.build()


def test_topics_are_many_and_not_shared() -> None:
    train = {topic.name for topic in make.TRAIN_BANK.topics}
    heldout = {topic.name for topic in make.HELDOUT_BANK.topics}
    assert len(train) >= 36
    assert len(heldout) >= 12
    assert not train & heldout


def test_no_question_is_shared() -> None:
    train, heldout = user_texts(rows_of("train.jsonl")), user_texts(rows_of("heldout.jsonl"))
    assert not train & heldout
    assert not sentences(train) & sentences(heldout)


def test_no_answer_sentence_is_shared() -> None:
    assert not answer_sentences(rows_of("train.jsonl")) & answer_sentences(rows_of("heldout.jsonl"))


def test_no_template_is_shared() -> None:
    train, heldout = make.TRAIN_BANK, make.HELDOUT_BANK
    for kind in ("systems", "histories", "greetings", "closings", "sympathies", "hedges", "deferrals"):
        assert not set(getattr(train, kind)) & set(getattr(heldout, kind)), kind
    assert set(train.frames) & set(heldout.frames) == {"{question}"}


def test_prompts_and_answers_do_not_repeat() -> None:
    rows = [row for name in PAIRS for row in rows_of(name)]
    texts = [text for pair in answers(rows) for text in pair]
    assert len(set(texts)) == len(texts)
    assert len(set(prompts(rows))) == len(rows)


def test_no_placeholder_is_left_unfilled() -> None:
    rows = [row for name in PAIRS for row in rows_of(name)]
    texts = user_texts(rows) | {text for pair in answers(rows) for text in pair}
    assert not [text for text in texts if re.search(r"[{}]| {2}", text)]


@pytest.mark.parametrize("name", PAIRS)
def test_length_does_not_give_the_label_away(name: str) -> None:
    lengths = [(len(preferred), len(non_preferred)) for preferred, non_preferred in answers(rows_of(name))]
    crossed = [(left, right) for left, _ in lengths for _, right in lengths]
    assert 0.45 <= share_longer(lengths) <= 0.55
    assert 0.45 <= share_longer(crossed) <= 0.55


@pytest.mark.parametrize("names", [["train.jsonl"], ["heldout.jsonl"], list(PAIRS)], ids="+".join)
def test_no_word_or_mark_gives_the_label_away(names: list[str]) -> None:
    telling = presence_auc([row for name in names for row in rows_of(name)])
    assert {feature: auc for feature, auc in telling.items() if auc >= 0.70} == {}
