"""Single answers, each good or bad (KTO): the good and the bad ones to one prompt make pairs, wherever they stand."""

from __future__ import annotations

from preftune.pairs.formats.fields import answer, assistant, message, messages, one_of, rest, system, text, tools, user
from preftune.pairs.formats.judged import instructed
from preftune.pairs.formats.layout import CLASSED, PRIME, Answer, Layout, Ranking, Row, Unfit
from preftune.pairs.formats.sharegpt import turn
from preftune.pairs.pair import Message

_KTO_KEYS = ("messages", "conversations", "instruction")  # of LLaMA-Factory's three forms


def _read_trl(row: Row) -> Ranking:
    """Source: the TRL documentation, dataset formats, unpaired preference."""
    prompt = row["prompt"]
    asked = [user(prompt)] if isinstance(prompt, str) else messages(prompt, "prompt")
    return _ranking(row, asked, answer(row["completion"], "completion"), "label", "prompt", "completion")


def _read_llamafactory(row: Row) -> Ranking:
    """Source: the LLaMA-Factory data documentation."""
    label = "kto_tag" if "kto_tag" in row else "label"
    key = next((key for key in _KTO_KEYS if key in row), "messages")
    if key == "instruction":
        return _ranking(row, instructed(row), assistant(text(row, "output")), label, "instruction", "input", "output")
    *prompt, last = messages(row.get(key), key, turn if key == "conversations" else message)
    if not prompt:
        raise Unfit(f"{key} is an answer alone; expected the context before it")
    return _ranking(row, prompt, answer([last], f"the end of {key}"), label, key)


def _ranking(row: Row, prompt: list[Message], said: Message, label: str, *used: str) -> Ranking:
    score = int(one_of(row, label, True, False))
    extra = rest(row, label, "system", "tools", *used)
    return Ranking([*system(row.get("system")), *prompt], [Answer(said, score, extra)], tools(row.get("tools")))


def _is_llamafactory(row: Row) -> bool:
    labelled = any(isinstance(row.get(key), bool) for key in ("label", "kto_tag"))
    return labelled and any(key in row for key in _KTO_KEYS)


LAYOUTS = (
    Layout(
        name="trl-unpaired",
        title="TRL unpaired (KTO)",
        keys=("prompt", "completion", "label"),
        read=_read_trl,
        pairings=CLASSED,
        gather="file",
        example=(
            {"prompt": PRIME, "completion": "7", "label": True},
            {"prompt": PRIME, "completion": "9", "label": False},
        ),
    ),
    Layout(
        name="llamafactory-kto",
        title="LLaMA-Factory KTO",
        keys=(),
        when=_is_llamafactory,
        read=_read_llamafactory,
        pairings=CLASSED,
        gather="file",
        example=tuple(
            {
                "messages": [{"role": "user", "content": PRIME}, {"role": "assistant", "content": said}],
                "label": label,
            }
            for said, label in (("7", True), ("9", False))
        ),
    ),
)
