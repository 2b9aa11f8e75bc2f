"""Rules on one pair: identical (every line); near-identical, template, flipped-score, secrets (the sample)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Any

from preftune.pairs.finding import Problem
from preftune.pairs.pair import Message, PreferencePair, message_text

NEAR_IDENTICAL = 0.9  # Jaccard similarity of word 5-grams above which two answers teach next to nothing
GRAM = 5  # words
_SPOKEN = 64  # characters of each answer that are enough to tell most answers apart
# a run of letters or digits, or one character of a script that is written without spaces
_WORD = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W\u0e00-\u9fff\uf900-\ufaff]+"
)
_MARKERS = (  # what chat templates write around messages; a trainer adds its own
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "[INST]", "[/INST]", "<<SYS>>", "<extra_id_", "<start_of_turn>", "<end_of_turn>",
    "<|user|>", "<|assistant|>", "\n\nHuman:", "\n\nAssistant:", "</s>",
)  # fmt: skip
_MARKER_STARTS = ("<|", "INST]", "<<SYS", "<extra", "_turn>", "\n\nHuman:", "\n\nAssistant:", "</s>")
_SECRETS = {  # name: what surely stands in it, and the whole pattern
    "an e-mail address": ("@", re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}")),
    "an OpenAI-style key": ("sk-", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    "an AWS key id": ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    "a GitHub token": ("gh", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})")),
    "a Slack token": ("xox", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    "a Google API key": ("AIza", re.compile(r"\bAIza[\w-]{35}")),
    "a Hugging Face token": ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    "a private key": ("-----BEGIN", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    "a JSON web token": ("eyJ", re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")),
}


def identical(pair: PreferencePair) -> Iterator[Problem]:
    """Find a pair whose answers are equal, byte for byte or but for spelling: its gradient is zero or almost so."""
    chosen, rejected = said(pair.chosen), said(pair.rejected)
    if chosen == rejected:
        hint = "drop the pair: its gradient is zero, whatever the knobs"
        yield Problem("identical", "error", "", "both answers are the same", hint, fixable=True)
    elif folded(chosen) == folded(rejected):
        message = "both answers are the same but for white space, letter case or Unicode form"
        yield Problem("identical", "warning", "", message, "drop the pair, unless that difference is what you teach")


def may_be_identical(chosen: str, rejected: str) -> bool:
    """Tell, from the first characters alone, whether `identical` could find anything about two plain answers.

    Of ASCII text no later character changes what it folds to, but for the last one, which a combining mark may follow.
    """
    a, b = chosen[:2], rejected[:2]
    if a.isalpha() and b.isalpha() and a.isascii() and b.isascii() and a[0].lower() != b[0].lower():
        return False
    a, b = chosen[:_SPOKEN], rejected[:_SPOKEN]
    if not (a.isascii() and b.isascii()):
        return True
    a, b = "".join(a.lower().split()), "".join(b.lower().split())
    compared = min(len(a), len(b)) - 1
    return compared < 1 or a[:compared] == b[:compared]


def near_identical(pair: PreferencePair) -> Iterator[Problem]:
    """Find answers that share more than nine tenths of their word 5-grams, or, when shorter, all of their words."""
    if pair.chosen.get("tool_calls") or pair.rejected.get("tool_calls"):
        return
    chosen, rejected = words(pair.chosen_text), words(pair.rejected_text)
    if not chosen or not NEAR_IDENTICAL * len(chosen) <= len(rejected) <= len(chosen) / NEAR_IDENTICAL:
        return
    if _similarity(chosen, rejected) > NEAR_IDENTICAL and folded(said(pair.chosen)) != folded(said(pair.rejected)):
        hint = "look whether the difference is what you mean to teach; the pair teaches little else"
        yield Problem("near-identical", "warning", "", "the answers are nearly the same words", hint)


def template(pair: PreferencePair) -> Iterator[Problem]:
    """Find the markers of a chat template inside a message: the trainer writes them itself, and then twice."""
    for path, message in _messages(pair):
        text = message_text(message)
        if any(start in text for start in _MARKER_STARTS):
            found = next((marker for marker in _MARKERS if marker in text), None)
            if found:
                shown = found.replace("\n", "\\n")
                hint = "give the bare text of each turn as a message of its own; the trainer adds its template"
                yield Problem("template", "warning", path, f"{path} holds the template marker {shown}", hint)


def flipped_score(pair: PreferencePair) -> Iterator[Problem]:
    """Find scores that say the rejected answer is the better one."""
    chosen, rejected = pair.meta.get("score_chosen"), pair.meta.get("score_rejected")
    if isinstance(chosen, int | float) and isinstance(rejected, int | float) and chosen < rejected:
        message = f"score_chosen {chosen:g} is less than score_rejected {rejected:g}"
        hint = "swap the answers, or drop the pair: the label and the scores disagree"
        yield Problem("flipped-score", "error", "", message, hint)


def secrets(pair: PreferencePair) -> Iterator[Problem]:
    """Count what looks like a key, a token or an e-mail address; it is never shown."""
    texts = [message_text(message) for _, message in _messages(pair)]
    for name, (sure, pattern) in _SECRETS.items():
        if any(sure in text and pattern.search(text) for text in texts):
            hint = f"look at these lines before they leave the machine, and replace each {name.split(' ', 1)[1]}"
            yield Problem("secrets", "info", "", f"the pair seems to hold {name}", hint)


def said(message: Message) -> dict[str, Any]:
    """Return what a message says: all of it but the role."""
    return {key: value for key, value in message.items() if key != "role"}


def folded(value: Any) -> Any:
    """Return a value with every text in it in one spelling: Unicode NFKC, case folded, white space single."""
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, list):
        return [folded(item) for item in value]
    return {key: folded(item) for key, item in value.items()} if isinstance(value, dict) else value


def words(text: str) -> list[str]:
    """Return the words of a text, case folded; each character of a script without spaces is one."""
    return _WORD.findall(text.casefold())


def _similarity(first: list[str], second: list[str]) -> float:
    """Return the Jaccard similarity of the word 5-grams, or 1 or 0 for fewer words that are or are not the same."""
    if min(len(first), len(second)) < GRAM:
        return float(first == second)
    a, b = _grams(first), _grams(second)
    return len(a & b) / len(a | b)


def _grams(spoken: list[str]) -> set[tuple[str, ...]]:
    return set(zip(*(islice(spoken, start, None) for start in range(GRAM)), strict=False))


def _messages(pair: PreferencePair) -> Iterator[tuple[str, Message]]:
    for index, message in enumerate(pair.prompt):
        yield f"input.messages[{index}]", message
    yield "preferred_output[0]", pair.chosen
    yield "non_preferred_output[0]", pair.rejected


SAMPLED = (near_identical, template, flipped_score, secrets)
