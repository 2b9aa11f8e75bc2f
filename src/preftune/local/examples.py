"""From an uploaded file to what a job is trained on: rows read, cut to the budget, encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preftune.api.config import DPO, SFT, JobConfig
from preftune.local import limits, validate
from preftune.local.engine.encode import Cut, answer_bytes, cut, cut_pair, encode, encode_pair, join, render
from preftune.local.engine.objectives import Objective, Preference, Supervised
from preftune.pairs.formats import together

_ROOM = "raise max_seq_length, or shorten the prompts"


class UserError(Exception):
    """The job cannot run as asked; the message goes to its user."""


def read_examples(path: Path, kind: str, config: JobConfig, *, split: str) -> tuple[Objective, str]:
    """Return what a file holds for a job, and a sentence on what the budget cut off it, empty when nothing.

    `kind` is the format of the file's rows. Raises UserError when it is not what the job trains on, or nothing is left.
    """
    if isinstance(config.training_method, DPO):
        return _preference(path, kind, config, config.training_method, split)
    return _supervised(path, kind, config, split)


def budget_of(config: JobConfig) -> int:
    """Return the bytes that a conversation, or one side of a pair, may have."""
    longest = limits.MAX_LENGTH_DPO if isinstance(config.training_method, DPO) else limits.MAX_LENGTH_SFT
    return config.max_seq_length or longest


def learns_inputs(config: JobConfig) -> bool:
    """Tell whether what the user says is learned too."""
    return isinstance(config.training_method, SFT) and config.training_method.train_on_inputs is True


def _preference(path: Path, kind: str, config: JobConfig, method: DPO, split: str) -> tuple[Preference, str]:
    if kind != validate.PREFERENCE:
        raise UserError(f"The {split} file holds {kind} rows; preference tuning needs preference rows.")
    budget = budget_of(config)
    pairs, shortened, empty = [], 0, 0
    for _, row, _ in validate.rows(path):
        pair = together.read(row)
        sides = cut_pair(pair, budget)
        shortened += any(not side.whole for side in sides)
        encoded = encode_pair(sides, pair.weight)
        if encoded is None:
            empty += 1
        else:
            pairs.append(encoded)
    if not pairs:
        raise UserError(f"The budget of {budget} bytes a side leaves no answer in the {split} file; {_ROOM}.")
    return Preference(pairs, method), _told(f"pairs of the {split} file", budget, shortened, empty)


def _supervised(path: Path, kind: str, config: JobConfig, split: str) -> tuple[Supervised, str]:
    if kind == validate.PREFERENCE:
        raise UserError(f"The {split} file holds preference rows; supervised tuning needs conversations.")
    budget, on_inputs = budget_of(config), learns_inputs(config)
    examples, shortened, empty = [], 0, 0
    for _, row, _ in validate.rows(path):
        turns = _turns(validate.supervised_messages(row, kind), budget, on_inputs=on_inputs)
        shortened += any(not turn.whole for turn in turns)
        learned = [turn for turn in turns if turn.answer or turn.whole]
        empty += not learned
        if learned:
            examples.append(join([encode(turn) for turn in learned]))
    if not examples:
        reason = "leave nothing to learn; give an answer the weight 1"
        if shortened:
            reason = f"keep no answer within the budget of {budget} bytes; {_ROOM}"
        raise UserError(f"The rows of the {split} file {reason}.")
    return Supervised(examples), _told(f"examples of the {split} file", budget, shortened, empty)


def _turns(messages: Sequence[dict[str, Any]], budget: int, *, on_inputs: bool) -> list[Cut]:
    """Return each message that is learned, after its context."""
    learned = []
    for index, message in enumerate(messages):
        if (message["role"] == "assistant" or on_inputs) and message.get("weight", 1) != 0:
            role = str(message["role"])[:1].encode()
            learned.append(cut(render(messages[:index]), answer_bytes(message), budget, role))
    return learned


def _told(what: str, budget: int, shortened: int, empty: int) -> str:
    dropped = f"; {empty} had no answer left and were dropped" if empty else ""
    return f"{shortened} {what} were cut to {budget} bytes{dropped}." if shortened else ""
