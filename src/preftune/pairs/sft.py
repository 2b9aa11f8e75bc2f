"""The supervised set that lies in a preference set: each prompt with its chosen answer."""

from __future__ import annotations

import json
from pathlib import Path

from preftune.pairs.convert import read


def to_sft(src: str | Path, dst: str | Path, *, source: str = "auto") -> int:
    """Write one conversation a pair, the prompt followed by the chosen answer, and return how many were written.

    A pair of weight 0 is left out, since it is to train nothing; another weight goes along.

    Raises DataError, naming the row, for one that cannot be read; nothing is left at `dst` then.
    """
    dst = Path(dst)
    part = dst.with_name(dst.name + ".part")
    count = 0
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for pair in read(src, source=source):
                row: dict[str, object] = {"messages": [*pair.prompt, pair.chosen]}
                if pair.weight == 0:
                    continue
                if pair.weight is not None:
                    row["weight"] = pair.weight
                if pair.tools is not None:
                    row["tools"] = pair.tools
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        part.replace(dst)
    finally:
        part.unlink(missing_ok=True)
    return count
