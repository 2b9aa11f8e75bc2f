"""Question and answers as plain texts under names of their own, and transcripts: Axolotl, LLaMA-Factory, NeMo, HH."""

from __future__ import annotations

from functools import partial

from preftune.pairs.formats.fields import (
    answer,
    assistant,
    is_list_of,
    messages,
    one_of,
    rest,
    shared_context,
    system,
    text,
    tools,
    user,
)
from preftune.pairs.formats.judged import instructed
from preftune.pairs.formats.layout import PRIME, Layout, Row, Tie, Unfit
from preftune.pairs.formats.transcripts import is_transcript, split_template, split_transcript, template_answer
from preftune.pairs.formats.trl import read_mapped
from preftune.pairs.jsonl import json_kind
from preftune.pairs.pair import Message, PreferencePair


def _read_alpaca(row: Row) -> PreferencePair:
    """Source: the LLaMA-Factory data documentation; older files list both answers in `output`."""
    output = row.get("output")
    if "chosen" in row or not isinstance(output, list):
        said = [text(row, "chosen"), text(row, "rejected")]
    elif len(output) == 2 and is_list_of(output, str):  # noqa: PLR2004 - chosen and rejected
        said = output
    else:
        raise Unfit(f"output is a list of {len(output)}; expected the chosen and the rejected text")
    prompt = [*system(row.get("system")), *_history(row.get("history") or []), *instructed(row)]
    used = ("instruction", "input", "system", "history", "chosen", "rejected", "output", "tools")
    chosen, rejected = map(assistant, said)
    return PreferencePair(prompt, chosen, rejected, tools(row.get("tools")), meta=rest(row, *used))


def _history(rounds: object) -> list[Message]:
    """Return the messages of earlier rounds, each a question and its answer."""
    turns: list[Message] = []
    for index, each in enumerate(rounds if isinstance(rounds, list) else [rounds]):
        if not is_list_of(each, str) or len(each) != 2:  # noqa: PLR2004 - question and answer
            raise Unfit(f"history[{index}] is {json_kind(each)}; expected a list of two texts")
        turns += [user(each[0]), assistant(each[1])]
    return turns


def _read_axolotl(row: Row) -> PreferencePair:
    """Source: the Axolotl documentation, chat_template.default."""
    prompt = messages(row["messages"], "messages")
    meta = rest(row, "messages", "chosen", "rejected", "tools")
    chosen, rejected = answer(row["chosen"], "chosen"), answer(row["rejected"], "rejected")
    return PreferencePair(prompt, chosen, rejected, tools(row.get("tools")), meta=meta)


def _read_orca(row: Row) -> PreferencePair:
    """Source: the data card of distilabel-intel-orca-dpo-pairs; swapped rows are swapped already."""
    if one_of(row, "status", "tie", "swapped", "unchanged") == "tie":
        raise Tie("status is 'tie'")
    return _read_texts("input", "chosen", "rejected", {key: row[key] for key in row if key != "status"})


def _read_texts(prompt: str, chosen: str, rejected: str, row: Row) -> PreferencePair:
    for key in (prompt, chosen, rejected):
        text(row, key)
    keys = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "system": "system"}
    return read_mapped(keys, row)


def _read_nemo(row: Row) -> PreferencePair:
    """Source: the NeMo-Aligner documentation, DPO data with the template's tokens baked in."""
    prompt = split_template(text(row, "prompt"), "prompt", cue=True)
    chosen, rejected = (
        assistant(template_answer(text(row, key), key)) for key in ("chosen_response", "rejected_response")
    )
    return PreferencePair(prompt, chosen, rejected, meta=rest(row, "prompt", "chosen_response", "rejected_response"))


def _read_hh(row: Row) -> PreferencePair:
    """Source: the data card of Anthropic HH-RLHF; some copies have the prompt split off already."""
    meta = rest(row, "prompt", "chosen", "rejected")
    if row.get("prompt") is not None:
        prompt = split_transcript(text(row, "prompt"), "prompt", cue=True)
        chosen, rejected = (assistant(text(row, key).strip()) for key in ("chosen", "rejected"))
        return PreferencePair(prompt, chosen, rejected, meta=meta)
    sides = [split_transcript(text(row, key), key) for key in ("chosen", "rejected")]
    prompt, chosen, rejected = shared_context(sides[0], sides[1])
    return PreferencePair(prompt, chosen, rejected, meta=meta)


def _is_alpaca(row: Row) -> bool:
    return ("chosen" in row and "rejected" in row) or is_list_of(row.get("output"), str)


def _is_hh(row: Row) -> bool:
    if row.get("prompt") is not None:
        return is_transcript(row["prompt"])
    return is_transcript(row["chosen"]) and is_transcript(row["rejected"])


_TURN = [{"role": "user", "content": PRIME}]
LAYOUTS = (
    Layout(
        name="nemo-aligner",
        title="NeMo-Aligner DPO",
        keys=("prompt", "chosen_response", "rejected_response"),
        read=_read_nemo,
        example=(
            {
                "prompt": f"<extra_id_0>System\n\n<extra_id_1>User\n{PRIME}\n<extra_id_1>Assistant\n",
                "chosen_response": "7\n<extra_id_1>",
                "rejected_response": "9\n<extra_id_1>",
            },
        ),
    ),
    Layout(
        name="chatml-argilla",
        title="Axolotl chatml.argilla",
        keys=("instruction", "chosen_response", "rejected_response"),
        read=partial(_read_texts, "instruction", "chosen_response", "rejected_response"),
        example=({"instruction": PRIME, "chosen_response": "7", "rejected_response": "9"},),
    ),
    Layout(
        name="orca",
        title="distilabel Orca pairs",
        keys=("input", "chosen", "rejected", "status"),
        read=_read_orca,
        ties=True,
        example=({"system": "", "input": PRIME, "chosen": "7", "rejected": "9", "status": "unchanged"},),
    ),
    Layout(
        name="alpaca",
        title="LLaMA-Factory alpaca ranking",
        keys=("instruction",),
        when=_is_alpaca,
        read=_read_alpaca,
        example=({"instruction": PRIME, "input": "", "chosen": "7", "rejected": "9"},),
    ),
    Layout(
        name="axolotl",
        title="Axolotl chat_template",
        keys=("messages", "chosen", "rejected"),
        when=lambda row: isinstance(row["chosen"], dict),
        read=_read_axolotl,
        example=(
            {
                "messages": _TURN,
                "chosen": {"role": "assistant", "content": "7"},
                "rejected": {"role": "assistant", "content": "9"},
            },
        ),
    ),
    Layout(
        name="intel",
        title="Intel Orca pairs (Axolotl chatml.intel)",
        keys=("question", "chosen", "rejected"),
        read=partial(_read_texts, "question", "chosen", "rejected"),
        example=({"system": "", "question": PRIME, "chosen": "7", "rejected": "9"},),
    ),
    Layout(
        name="icr",
        title="Axolotl chatml.icr",
        keys=("input", "chosen", "rejected"),
        read=partial(_read_texts, "input", "chosen", "rejected"),
        example=({"input": PRIME, "chosen": "7", "rejected": "9"},),
    ),
    Layout(
        name="hh",
        title="Anthropic HH transcripts",
        keys=("chosen", "rejected"),
        when=_is_hh,
        read=_read_hh,
        example=(
            {
                "chosen": f"\n\nHuman: {PRIME}\n\nAssistant: 7",
                "rejected": f"\n\nHuman: {PRIME}\n\nAssistant: 9",
            },
        ),
    ),
)
