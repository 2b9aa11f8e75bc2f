"""All the rules: what each finds, which lines it sees, and a file that it finds something in.

docs/rules.md is made from this table, and the tests check every example.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Sees: TypeAlias = Literal["every line", "the sample", "the sample as a whole"]
_SET = 200  # pairs of an example for a rule on the set
_QUALITIES = (
    "amber", "brave", "calm", "dusty", "early", "faint", "gentle", "hollow", "icy", "jolly", "keen", "lonely", "modest",
    "narrow", "odd", "pale", "quiet",
)  # fmt: skip
_THINGS = (
    "anchor", "bridge", "candle", "door", "engine", "ferry", "garden", "harbour", "island", "jacket", "kettle",
    "lantern", "mirror", "needle", "orchard", "pencil", "quarry", "river", "saddle", "ticket", "umbrella", "violin",
    "window",
)  # fmt: skip
_DOES = ("follows", "hides", "carries", "meets", "paints")


@dataclass(frozen=True)
class Rule:
    """One rule: its id, what it finds, and an example."""

    id: str
    module: str  # of preftune.pairs.rules
    sees: Sees
    finds: str
    lines: tuple[bytes, ...]  # of a file in which it finds something
    options: dict[str, Any] = field(default_factory=dict)  # of check
    validation: tuple[bytes, ...] = ()  # lines of the validation file


def pair_line(
    prompt: str = "Name a prime.", chosen: str = "Seven.", rejected: str = "Nine, I think.", **more: Any
) -> bytes:
    """Return the line of a plain pair, with further top-level keys."""
    row = {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }
    return json.dumps(row | more, ensure_ascii=False).encode()


def _row(**changes: Any) -> bytes:
    """Return the line of the plain pair with some of its keys changed, or left out where they are None."""
    row = json.loads(pair_line()) | changes
    return json.dumps({key: value for key, value in row.items() if value is not None}, ensure_ascii=False).encode()


def _set(chosen: Callable[[int], str], rejected: Callable[[int], str]) -> tuple[bytes, ...]:
    """Return the lines of a set, the answers made from the number of the pair."""
    return tuple(pair_line(f"What does {_thing(n)} do?", chosen(n), rejected(n)) for n in range(_SET))


def _thing(number: int) -> str:
    """Return a thing of its own for each number below 391."""
    return f"the {_QUALITIES[number % len(_QUALITIES)]} {_THINGS[number % len(_THINGS)]}"


def _said(number: int, sentences: int = 2) -> str:
    """Return sentences that no other number shares, but for a word here and there."""
    told = (
        f"{_thing(number * 31 + at * 7)} {_DOES[(number + at) % len(_DOES)]} {_thing(number * 13 + at * 5 + 2)}."
        for at in range(sentences)
    )
    return " ".join(sentence.capitalize() for sentence in told)


_CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}]}
_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}

RULES: tuple[Rule, ...] = (
    Rule(
        "encoding", "line", "every line",
        "Bytes that are not UTF-8, a byte-order mark, NUL bytes, escapes of half a character (lone surrogates).",
        (pair_line(chosen="caf").replace(b"caf", b"caf\xe9"),),
    ),
    Rule(
        "line", "line", "every line",
        "A line that is not one JSON object: no JSON, two values, NaN or Infinity, a key that stands twice, nesting or "
        "length beyond the limit; or a file that is no JSON Lines at all.",
        (pair_line()[:-1] + b', "weight": 1, "weight": 2}',),
    ),
    Rule("blank", "line", "every line", "Blank lines and line ends of CRLF; both are accepted.", (pair_line(), b"")),
    Rule("empty-file", "line", "every line", "A file without any row.", (b"",)),
    Rule(
        "size", "line", "every line",
        "A file larger than 50.1 GiB, which the hosted side refuses; with a sample, a set of fewer than 100 pairs.",
        (pair_line(),),
    ),
    Rule(
        "mixed", "schema", "every line", "A row of another format, with the command that converts it.",
        (b'{"prompt": "Name a prime.", "chosen": "Seven.", "rejected": "Nine."}',),
    ),
    Rule(
        "keys", "schema", "every line", "One of the three keys missing; keys that no preference row has.",
        (_row(preferred_output=None),),
    ),
    Rule(
        "input", "schema", "every line",
        "A context that is not a list of messages, a message without a known role or content, speakers that do not "
        "take turns, a system message that is not the first, an answer at the end.",
        (_row(input={"messages": [{"role": "human", "content": "Name a prime."}]}),),
    ),
    Rule(
        "assistant-first", "schema", "every line", "A context that starts with the assistant, which is legal.",
        (_row(input={"messages": [{"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Hi."}]}),),
    ),
    Rule(
        "output", "schema", "every line", "An output that is not exactly one answer of the assistant, or an empty one.",
        (pair_line(rejected="  "),),
    ),
    Rule(
        "weights", "schema", "every line",
        "A message weight that is not 0 or 1, a row weight that is not a finite number of at least 0; a weight of 0.",
        (pair_line(weight=-1),),
    ),
    Rule(
        "tools", "schema", "every line",
        "Tools declared outside input or without a name, calls of tools that are not declared, arguments not JSON.",
        (_row(preferred_output=[_CALL]),),
    ),
    Rule(
        "reasoning", "schema", "every line", "Reasoning on one side only.",
        (_row(preferred_output=[{"role": "assistant", "content": "Seven.", "reasoning": "It has no divisor."}]),),
    ),
    Rule(
        "images", "schema", "every line",
        "Images outside user messages of the context, more than 10 in a row, larger than 10 MiB, or not inline.",
        (_row(input={"messages": [{"role": "user", "content": [_IMAGE]}]}),),
    ),
    Rule(
        "identical", "pair", "every line",
        "Answers that are equal byte for byte (an error), or but for white space, letter case and Unicode form.",
        (pair_line(chosen="Nine, I think."),),
    ),
    Rule("duplicate", "repeats", "every line", "The same pair again.", (pair_line(), pair_line())),
    Rule(
        "contradiction", "repeats", "every line",
        "The same two answers ranked both ways (an error); answers ranked in a circle.",
        (pair_line(), pair_line(chosen="Nine, I think.", rejected="Seven.")),
    ),
    Rule(
        "prompt-reuse", "repeats", "every line", "One prompt in more than 5 pairs.",
        tuple(pair_line(chosen=f"Seven, {n} times.") for n in range(6)),
    ),
    Rule(
        "leakage", "repeats", "every line",
        "With a validation file: a prompt that stands in both (an error); on the sample, prompts that are nearly the "
        "same or share 13 words in a row, in more than 1 % of them. Rows of that file that hold no pair are told of.",
        (pair_line(),), validation=(pair_line(chosen="Two."),),
    ),
    Rule(
        "near-identical", "pair", "the sample",
        "Answers of 5 words or more whose word 5-grams are the same to more than 0.9 (Jaccard).",
        (pair_line(chosen=f"{_said(1, 12)} Yes.", rejected=f"{_said(1, 12)} No."),),
    ),
    Rule(
        "truncation", "budget", "the sample",
        "A side whose context and answer have more tokens than its budget; with a tokenizer, an error where the cut "
        "leaves nothing of an answer, or both answers the same.",
        (pair_line(chosen=_said(1, 8)),), {"tokens_per_side": 64},
    ),
    Rule(
        "template", "pair", "the sample", "The markers of a chat template inside a message.",
        (pair_line(prompt="<|im_start|>user\nName a prime.<|im_end|>"),),
    ),
    Rule(
        "flipped-score", "pair", "the sample", "An extra score_chosen that is less than score_rejected.",
        (pair_line(score_chosen=2, score_rejected=5),),
    ),
    Rule(
        "secrets", "pair", "the sample", "What looks like a key, a token or an e-mail address; counted, never shown.",
        (pair_line(chosen="Ask ada@example.org."),),
    ),
    Rule(
        "near-duplicate-prompts", "similar", "the sample as a whole",
        "Prompts that are nearly the same as another one (MinHash, Jaccard 0.8), in more than 1 % of them.",
        tuple(
            pair_line(f"Who is right? {_said(n // 2, 3)} {n % 2 + 1}", _said(n, 1), _said(n + 999, 1))
            for n in range(_SET)
        ),
    ),
    Rule(
        "length-bias", "bias", "the sample as a whole",
        "The chosen answer is the longer (or the shorter) one in more than 60 % of pairs, and not by chance.",
        _set(lambda n: _said(n, 3), lambda n: _said(n + 999)),
    ),
    Rule(
        "format-bias", "bias", "the sample as a whole",
        "Where one answer has markdown, a list, bold text, code, an emoji, a link, an exclamation mark, a refusing or "
        "an affirming opener, it is the same side in more than 60 % of pairs, and not by chance.",
        _set(lambda n: _said(n).replace(".", "!"), lambda n: _said(n + 999)),
    ),
    Rule(
        "shortcut", "bias", "the sample as a whole",
        "A logistic probe on length and form alone guesses more than 70 % of held-out pairs.",
        _set(lambda n: _said(n, 3), lambda n: _said(n + 999)),
    ),
    Rule(
        "side-constant", "bias", "the sample as a whole",
        "12 characters or more that begin or end 95 % of one side's answers and under 50 % of the other's.",
        _set(lambda n: f"As a careful assistant: {_said(n)}", lambda n: _said(n + 999, 2 + n % 2)),
    ),
    Rule(
        "cut-off", "bias", "the sample as a whole",
        "The share of answers that end without closing punctuation differs by more than 10 points between the sides.",
        _set(_said, lambda n: _said(n + 999).rstrip(".")),
    ),
    Rule(
        "echo", "bias", "the sample as a whole", "The prompt's text begins an answer, in more than half the rows.",
        _set(lambda n: f"What does {_thing(n)} do? {_said(n)}", lambda n: _said(n + 999, 2 + n % 2)),
    ),
)  # fmt: skip
