"""Cheap features of an answer, which say nothing of how good it is: format, openers, how it ends."""

from __future__ import annotations

import re
from collections.abc import Callable

READ = 20_000  # characters of an answer that are looked at
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_LIST = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)、])\s", re.MULTILINE)
_TABLE = re.compile(r"^\|.*\|\s*$", re.MULTILINE)
_BOLD = re.compile(r"\*\*\S[^*\n]*\*\*|__\S[^_\n]*__")
_LINK = re.compile(r"https?://|\[[^\]\n]+\]\([^)\n]+\)")
_EMOJI = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f300-\U0001faff]")
_REFUSAL = re.compile(
    r"\s*(?:(?:i['’]m |i am )?(?:very |so |really )?sorry|(?:unfortunately,? )?i (?:cannot|can['’]t|can not|won['’]t)|"
    r"i(?:['’]m| am) (?:unable|not able)|as an ai|(?:很|非常)?抱歉|对不起|我(?:无法|不能)|"
    r"作为(?:一个|一名)?(?:ai|人工智能|语言模型))",
    re.IGNORECASE,
)
_AFFIRMATIVE = re.compile(
    r"\s*(?:sure|certainly|of course|absolutely|definitely|yes|great question|happy to|"
    r"here(?:['’]s| is| are)|当然|好的|没问题|是的|以下是)",
    re.IGNORECASE,
)


def has_markdown(text: str) -> bool:
    """Tell whether a text has a heading, a list, a table, bold text or code."""
    return (
        has_list(text)
        or has_bold(text)
        or "`" in text
        or _has_heading(text)
        or ("|" in text and bool(_TABLE.search(text)))
    )


def has_list(text: str) -> bool:
    """Tell whether a line of the text begins like an item of a list."""
    return bool(_LIST.search(text))


def has_bold(text: str) -> bool:
    """Tell whether a part of the text stands in bold marks."""
    return ("**" in text or "__" in text) and bool(_BOLD.search(text))


def has_emoji(text: str) -> bool:
    """Tell whether the text holds an emoji."""
    return not text.isascii() and bool(_EMOJI.search(text))


def has_link(text: str) -> bool:
    """Tell whether the text holds a web address or a link."""
    return ("://" in text or "](" in text) and bool(_LINK.search(text))


FEATURES: dict[str, Callable[[str], bool]] = {
    "markdown": has_markdown,
    "a list": has_list,
    "bold text": has_bold,
    "code": lambda text: "```" in text,
    "an emoji": has_emoji,
    "a link": has_link,
    "an exclamation mark": lambda text: "!" in text or "！" in text,
    "a refusing opener": lambda text: bool(_REFUSAL.match(text)),
    "an affirming opener": lambda text: bool(_AFFIRMATIVE.match(text)),
}


def features(text: str) -> list[bool]:
    """Return which of the features an answer has, in their order."""
    return [has(text) for has in FEATURES.values()]


def is_closed(text: str) -> bool:
    """Tell whether a text ends as finished texts do: not in a letter, a digit, a comma or an opening mark."""
    last = text.rstrip()[-1:]
    return not (last.isalnum() or last in ",;:-(，、；：（")


def _has_heading(text: str) -> bool:
    return "#" in text and bool(_HEADING.search(text))
