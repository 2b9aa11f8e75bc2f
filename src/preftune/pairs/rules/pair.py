"""Rules on one pair: identical (every line); near-identical, template, flipped-score, secrets (the sample)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Any

from preftune.pairs.finding import Problem
from preftune.pairs.jsonl import shown
from preftune.pairs.pair import Message, PreferencePair, message_text

NEAR_IDENTICAL = 0.9  # Jaccard similarity of word 5-grams above which two answers teach next to nothing
GRAM = 5  # words
_MANY = 20  # different words between white space, fewer of which a script without spaces may have in a long text
_SPOKEN = 64  # characters of each answer that are enough to tell most answers apart
_DENSE = (  # scripts that are written without spaces: Thai and Lao, Burmese, Khmer, Japanese, Chinese
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = r"[\u0300-\u036f\u0900-\u0963\u0970-\u0dff]"  # accents, and the vowel signs of India: no letters to re
# a character of a dense script, or a run of letters, digits and marks
_WORD = re.compile(rf"[{_DENSE}]|[^\W{_DENSE}]+(?:{_MARKS}+[^\W{_DENSE}]*)*")
# the same for ASCII text, at ten times the speed: what is no letter, digit or underscore parts words
_SPACES = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "_")}
_MARKERS = (  # what chat templates write around messages; a trainer adds its own
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "[INST]", "[/INST]", "<<SYS>>", "<extra_id_", "<start_of_turn>", "<end_of_turn>",
    "<|user|>", "<|assistant|>", "\n\nHuman:", "\n\nAssistant:", "</s>",
)  # fmt: skip
_MARKER_STARTS = ("INST]", "\n\nHuman:", "\n\nAssistant:")  # of those that do not begin with <
_SECRETS = {  # name: what surely stands in it, and the whole pattern, which begins with a fixed text to be found fast
    "an e-mail address": ("@", re.compile(r"[\w.+-]@[\w-]+\.[A-Za-z]{2,}")),
    "an OpenAI-style key": ("sk-", re.compile(r"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9_-]{20,}")),
    "an AWS key id": ("AKIA", re.compile(r"AKIA[0-9A-Z]{16}\b")),
    "a GitHub token": ("gh", re.compile(r"gh[pousr]_[A-Za-z0-9]{36}")),
    "a GitHub access token": ("github_pat_", re.compile(r"github_pat_\w{22,}")),
    "a Slack token": ("xox", re.compile(r"xox[abprs]-[A-Za-z0-9-]{10,}")),
    "a Google API key": ("AIza", re.compile(r"AIza[\w-]{35}")),
    "a Hugging Face token": ("hf_", re.compile(r"hf_[A-Za-z0-9]{30,}")),
    "a private key": ("-----BEGIN", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    "a JSON web token": ("eyJ", re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")),
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
    """Find answers that share more than nine tenths of their word 5-grams; shorter ones are a matter of `identical`."""
    if any(message.keys() - {"role", "content"} for message in (pair.chosen, pair.rejected)):
        return  # they also differ, or may, in reasoning or tool calls
    if _are_far_apart(pair.chosen_text, pair.rejected_text):
        return
    chosen, rejected = words(pair.chosen_text), words(pair.rejected_text)
    if min(len(chosen), len(rejected)) < GRAM:
        return
    if not NEAR_IDENTICAL * len(chosen) <= len(rejected) <= len(chosen) / NEAR_IDENTICAL:
        return
    if _similarity(chosen, rejected) > NEAR_IDENTICAL and folded(said(pair.chosen)) != folded(said(pair.rejected)):
        hint = "look whether the difference is what you mean to teach; the pair teaches little else"
        yield Problem("near-identical", "warning", "", "the answers are nearly the same words", hint)


def template(pair: PreferencePair) -> Iterator[Problem]:
    """Find the markers of a chat template inside a message: the trainer writes them itself, and then twice."""
    whole = _whole(pair)
    if "<" not in whole and not any(start in whole for start in _MARKER_STARTS):
        return
    for path, message in _messages(pair):
        text = message_text(message)
        found = next((marker for marker in _MARKERS if marker in text), None)
        if found:
            marker = found.replace("\n", "\\n")
            hint = "give the bare text of each turn as a message of its own; the trainer adds its template"
            yield Problem("template", "warning", path, f"{path} holds the template marker {marker}", hint)


def flipped_score(pair: PreferencePair) -> Iterator[Problem]:
    """Find scores that say the rejected answer is the better one."""
    chosen, rejected = pair.meta.get("score_chosen"), pair.meta.get("score_rejected")
    if isinstance(chosen, int | float) and isinstance(rejected, int | float) and chosen < rejected:
        message = f"score_chosen {shown(chosen)} is less than score_rejected {shown(rejected)}"
        hint = "swap the answers, or drop the pair: the label and the scores disagree"
        yield Problem("flipped-score", "error", "", message, hint)


def secrets(pair: PreferencePair) -> Iterator[Problem]:
    """Count what looks like a key, a token or an e-mail address; it is never shown."""
    whole = _whole(pair)
    for name, (sure, pattern) in _SECRETS.items():
        if sure in whole and pattern.search(whole):
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
    if text.isascii():
        return text.lower().translate(_SPACES).split()
    return _WORD.findall(text.casefold())


def _are_far_apart(first: str, second: str) -> bool:
    """Tell, at a tenth of the cost, most texts that share too few words to be nearly identical."""
    a, b = set(first.split()), set(second.split())
    return min(len(a), len(b)) > _MANY and len(a & b) < max(len(a), len(b)) / 2


def _similarity(first: list[str], second: list[str]) -> float:
    """Return the Jaccard similarity of the word 5-grams."""
    a, b = _grams(first), _grams(second)
    return len(a & b) / len(a | b)


def _grams(spoken: list[str]) -> set[tuple[str, ...]]:
    return set(zip(*(islice(spoken, start, None) for start in range(GRAM)), strict=False))


def _whole(pair: PreferencePair) -> str:
    """Return all the text of a pair."""
    return "\n\n".join(message_text(message) for _, message in _messages(pair))


def _messages(pair: PreferencePair) -> Iterator[tuple[str, Message]]:
    for index, message in enumerate(pair.prompt):
        yield f"input.messages[{index}]", message
    yield "preferred_output[0]", pair.chosen
    yield "non_preferred_output[0]", pair.rejected


SAMPLED = (near_identical, template, flipped_score, secrets)
