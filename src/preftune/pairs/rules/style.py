"""Cheap features of an answer, which say nothing of how good it is: format, openers, how it ends."""

from __future__ import annotations

import re

READ = 20_000  # characters of an answer that are looked at
# these look at the beginnings of lines; a text gets a line break before its first, where the search for them is fast
_HEADING = re.compile(r"\n#{1,6} ")
_LIST = re.compile(r"\n[ \t]*(?:[-*•+]|\d{1,3}[.)、])\s")
_TABLE = re.compile(r"\n\|[^\n]*\|[ \t]*(?:\n|$)")
_BOLD = re.compile(r"\*\*\S[^*\n]*\*\*|__\S[^_\n]*__")
_LINK = re.compile(r"https?://|\[[^\[\]\n]+\]\([^()\n]+\)")
_EMOJI = re.compile("[\u2600-\u27bf\u2b50\u2b55\U0001f300-\U0001faff]")
_REFUSAL = re.compile(
    r"\s*(?:(?:(?:i['’]m |i am )?(?:very |so |really )?sorry|"
    r"(?:unfortunately,? )?i (?:cannot|can['’]t|can not|won['’]t)|"
    r"i apologi[sz]e|i(?:['’]m| am) (?:unable|not able)|as an ai)\b|(?:很|非常)?抱歉|对不起|我(?:无法|不能)|"
    r"作为(?:一个|一名)?(?:ai|人工智能|语言模型))",
    re.IGNORECASE,
)
_AFFIRMATIVE = re.compile(
    r"\s*(?:(?:sure|certainly|of course|absolutely|definitely|yes|great question|happy to|"
    r"here(?:['’]s| is| are))\b|当然|好的|没问题|是的|以下是)",
    re.IGNORECASE,
)


FEATURES = (
    "markdown",
    "a list",
    "bold text",
    "code",
    "an emoji",
    "a link",
    "an exclamation mark",
    "a refusing opener",
    "an affirming opener",
)


def features(text: str) -> list[bool]:
    """Return which of the features an answer has, in their order; markdown is any of its marks."""
    lines = "\n" + text
    listed = bool(_LIST.search(lines))
    bold = ("**" in text or "__" in text) and bool(_BOLD.search(text))
    heading = "#" in text and bool(_HEADING.search(lines))
    table = "|" in text and bool(_TABLE.search(lines))
    return [
        listed or bold or heading or table or "`" in text,
        listed,
        bold,
        "```" in text,
        not text.isascii() and bool(_EMOJI.search(text)),
        ("://" in text or "](" in text) and bool(_LINK.search(text)),
        "!" in text or "！" in text,
        bool(_REFUSAL.match(text)),
        bool(_AFFIRMATIVE.match(text)),
    ]


def is_closed(text: str) -> bool:
    """Tell whether a text ends as finished texts do: not in a letter, a digit, a comma or an opening mark.

    No text at all, as of an answer that is a tool call, was not cut off.
    """
    last = text.rstrip()[-1:]
    return not last or not (last.isalnum() or last in ",;:-(，、；：（")
