import importlib
import json
import re
from pathlib import Path

import pytest

from preftune.pairs import check
from preftune.pairs.rules import catalog
from preftune.pairs.rules.catalog import RULES

BY_ID = {rule.id: rule for rule in RULES}
THINGS = (
    "lantern",
    "harbour",
    "violin",
    "quarry",
    "orchard",
    "kettle",
    "umbrella",
    "saddle",
    "mirror",
    "ticket",
    "ferry",
)
DOINGS = ("follows", "hides", "carries", "meets", "paints", "rents", "mends", "counts", "sells", "loses", "keeps")


def findings(folder, rule):
    """Return what check finds in the example of a rule."""
    path, other = folder / "pairs.jsonl", folder / "validation.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in rule.lines))
    other.write_bytes(b"".join(line + b"\n" for line in rule.validation))
    return check(path, validation=other if rule.validation else None, **rule.options).findings


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_finds_something_in_its_example(tmp_path, rule):
    found = [finding for finding in findings(tmp_path, rule) if finding.rule == rule.id]
    assert found
    for finding in found:
        assert finding.message
        assert finding.hint
        assert finding.count >= 1
        if rule.sees == "the sample as a whole":
            assert finding.lines == ()
        elif rule.id not in {"empty-file", "size"}:
            assert 1 <= finding.lines[0] <= len(rule.lines)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.sees == "the sample as a whole"], ids=lambda r: r.id)
def test_the_example_of_a_rule_on_the_set_is_found_by_few_others(tmp_path, rule):
    others = {finding.rule for finding in findings(tmp_path, rule)} - {rule.id}
    assert others <= {"length-bias", "shortcut", "side-constant"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the report on a set of 121 pairs, balanced in every way, and its validation file."""
    folder = tmp_path_factory.mktemp("plain")
    rows = []
    for number in range(132):
        first, second = THINGS[number % 11], DOINGS[number // 11 % 11]
        answers = [f"The {first} {second} a {THINGS[(number * 3 + at) % 11]} twice." for at in (2, 5)]
        if number % 2:
            answers[number // 2 % 2] += " It did so again."
        rows.append(catalog.pair_line(f"{second} number {number}: what of the {first}?", *answers))
    path, validation = folder / "pairs.jsonl", folder / "validation.jsonl"
    path.write_bytes(b"\n".join(rows[:121]) + b"\n")
    validation.write_bytes(b"\n".join(rows[121:]) + b"\n")
    return check(path, validation=validation, max_seq_length=4096)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_silent_on_a_plain_balanced_set(plain, rule):
    assert (plain.pairs, plain.stats.sampled) == (121, 121)
    assert [finding for finding in plain.findings if finding.rule == rule.id] == []


def test_each_rule_stands_in_the_catalog_once_with_its_module():
    assert len(BY_ID) == len(RULES)
    for rule in RULES:
        importlib.import_module(f"preftune.pairs.rules.{rule.module}")


def test_the_catalog_has_every_rule_that_the_code_can_name():
    folder = Path(catalog.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "catalog.py"]
    named = {name for text in sources for name in re.findall(r'(?:Problem|_refused)\(\s*"([\w-]+)"', text)}
    assert named <= set(BY_ID)
    assert set(BY_ID) - named <= {"encoding", "line"}  # those are named by the reader of lines


def test_the_plain_row_that_examples_are_made_from_has_no_fault(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(catalog.pair_line())
    assert check(path, sample=0).findings == []
    assert json.loads(catalog.pair_line("¿Qué?", "é", weight=2)) == {
        "input": {"messages": [{"role": "user", "content": "¿Qué?"}]},
        "preferred_output": [{"role": "assistant", "content": "é"}],
        "non_preferred_output": [{"role": "assistant", "content": "Nine, I think."}],
        "weight": 2,
    }
