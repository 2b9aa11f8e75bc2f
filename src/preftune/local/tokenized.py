"""What the engine trains on, as tokens: a byte is a token, 256 ends an answer, labels of -100 are not learned.

A conversation is shown as one sequence; the engine scores each answer after its context, without the ends before it.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import zstandard

from preftune.api.config import JobConfig
from preftune.local import validate
from preftune.local.engine.encode import END, Cut, answer_bytes, cut_pair, render
from preftune.local.examples import budget_of, learns_inputs
from preftune.pairs.formats import together

if TYPE_CHECKING:
    from preftune.local import wire

Row: TypeAlias = dict[str, Any]
_MASKED = -100
_LEVEL = 3  # of zstd


def preview(path: Path, kind: str, *, count: int, budget: int, on_inputs: bool) -> list[wire.PreviewRow]:
    """Return the first rows of a supervised file as the trainer sees them."""
    found = []
    for _, row, _ in validate.rows(path):
        ids, labels, truncated = _supervised(validate.supervised_messages(row, kind), budget, on_inputs=on_inputs)
        found.append(_preview_row(ids, labels, truncated=truncated))
        if len(found) == count:
            break
    return found


def rows(path: Path, kind: str, config: JobConfig) -> Iterator[Row]:
    """Yield the rows of a file that a job trains on, as tokens and labels; of a pair, those of both sides."""
    budget = budget_of(config)
    for _, row, _ in validate.rows(path):
        if kind == validate.PREFERENCE:
            chosen, rejected = cut_pair(together.read(row), budget)
            if all(side.answer or side.whole for side in (chosen, rejected)):  # else it is not trained on
                sides = {"chosen": _answer(chosen), "rejected": _answer(rejected)}
                yield {f"{side}_{name}": value for side, tokens in sides.items() for name, value in tokens.items()}
        else:
            messages = validate.supervised_messages(row, kind)
            ids, labels, _ = _supervised(messages, budget, on_inputs=learns_inputs(config))
            yield {"input_ids": ids, "labels": labels}


def write_archive(path: Path, splits: Mapping[str, Iterator[Row]]) -> None:
    """Write rows as `<split>.jsonl` in a .tar.zst, through disk, whole or not at all."""
    part = path.with_name(path.name + ".part")
    with (
        part.open("wb") as file,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as packed,
        tarfile.open(fileobj=cast("BinaryIO", packed), mode="w|") as tar,
    ):
        for split, rows in splits.items():
            _add(tar, f"{split}.jsonl", rows)
    part.replace(path)


def _add(tar: tarfile.TarFile, name: str, rows: Iterator[Row]) -> None:
    with tempfile.TemporaryFile() as content:
        for row in rows:
            content.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = content.tell(), 0o644
        content.seek(0)
        tar.addfile(entry, content)


def _supervised(messages: Sequence[Row], budget: int, *, on_inputs: bool) -> tuple[list[int], list[int], bool]:
    ids: list[int] = []
    labels: list[int] = []
    for message in messages:
        said = answer_bytes(message)
        mark = list(render([message])[: -len(said)] if said else render([message]))
        learned = (message["role"] == "assistant" or on_inputs) and message.get("weight", 1) != 0
        ids += [*mark, *said, *([END] if learned else [])]
        labels += [_MASKED] * len(mark) + ([*said, END] if learned else [_MASKED] * len(said))
    return ids[:budget], labels[:budget], len(ids) > budget


def _answer(piece: Cut) -> Row:
    context = [*piece.context, *b"\x01%s\x02" % piece.role]
    tokens = [*piece.answer, *([END] if piece.whole else [])]
    return {"input_ids": [*context, *tokens], "labels": [_MASKED] * len(context) + tokens}


def _preview_row(ids: list[int], labels: list[int], *, truncated: bool) -> wire.PreviewRow:
    spans, start = [], 0
    for learned, run in groupby(label != _MASKED for label in labels):
        end = start + len(list(run))
        if learned:
            spans.append((start, end))
        start = end
    return {
        "input_ids": ids,
        "labels": labels,
        "num_tokens": len(ids),
        "num_trained_tokens": sum(label != _MASKED for label in labels),
        "tokens": ["<end>" if one == END else bytes([one]).decode("utf-8", "backslashreplace") for one in ids],
        "trained_spans": spans,
        "truncated": truncated,
    }
