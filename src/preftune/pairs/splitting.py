"""Two files from one, so that no prompt is on both sides."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from preftune.errors import DataError
from preftune.pairs.finding import plural
from preftune.pairs.fingerprint import sample_rank
from preftune.pairs.jsonl import BOM, existing_file, raw_lines
from preftune.pairs.summary import Summary, scan
from preftune.pairs.writing import jsonl_name, writing

_HARMLESS = ("encoding", "identical")  # rules whose fixable errors, a byte-order mark and equal answers, leave a pair
_DECIMALS = 6  # 0.07 of 100 is 7, and not a little more


@dataclass(frozen=True)
class Split:
    """What a split wrote."""

    train: Path
    validation: Path
    train_pairs: int
    validation_pairs: int
    prompts: int  # different ones, in both files together

    def __str__(self) -> str:
        return (
            f"{self.train.name}: {plural(self.train_pairs, 'pair')}; {self.validation.name}: "
            f"{plural(self.validation_pairs, 'pair')}; {plural(self.prompts, 'prompt')}, each on one side only"
        )


def split(
    path: str | Path, train: str | Path, validation: str | Path, *, fraction: float = 0.1, seed: int = 0
) -> Split:
    """Write the pairs of a preference file to two files, line by line and in their order, by prompt.

    The lines stay as they are; blank ones, carriage returns and a byte-order mark are left out. Prompts are taken for
    the validation file in the order of a hash seeded with `seed`, until it has at least `fraction` of the pairs (and
    both files have one prompt). Raises DataError for a file with a line that is no pair, for one with fewer than two
    prompts, and where a target cannot be written; nothing is left then.
    """
    source, targets = existing_file(path), (jsonl_name(train), jsonl_name(validation))
    if not 0 < fraction < 1:
        raise DataError(
            f"fraction={fraction}: expected a share between 0 and 1; 0.1 gives a tenth to the validation file"
        )
    summary = scan(source, sample=0)
    _refuse_faults(source, summary)
    chosen = _validation_prompts(source, summary, fraction, seed)
    sides = iter(zip(summary.numbers, (prompt in chosen for prompt in summary.prompts), strict=True))
    counts = Counter[bool]()
    with writing(targets[0], source) as first, writing(targets[1], source, targets[0]) as second:
        number, aside = next(sides)
        for line, (offset, raw) in enumerate(raw_lines(source), start=1):
            if line == number:
                (second if aside else first).write(_ended(raw.removeprefix(BOM) if offset == 0 else raw))
                counts[aside] += 1
                number, aside = next(sides, (0, False))
        first.flush()  # a full disk is met before the first of the files gets its name
        second.flush()
    return Split(*targets, counts[False], counts[True], len(set(summary.prompts)))


def _refuse_faults(source: Path, summary: Summary) -> None:
    """Raise DataError for the first line that is no pair, since it would be in neither file."""
    if summary.pairs == summary.rows:
        return
    fault = next(
        finding
        for finding in summary.problems.findings()
        if not (finding.fixable and finding.rule in _HARMLESS)  # errors come first, and one of them is to blame
    )
    command = f"preftune {'fix' if fault.fixable else 'check'} {shlex.quote(str(source))}"
    command += f" {shlex.quote(f'{source.stem}.fixed.jsonl')}" if fault.fixable else ""
    raise DataError(f"{source.name}:{fault.lines[0]}: {fault.message}; mend the file first: {command}")


def _validation_prompts(source: Path, summary: Summary, fraction: float, seed: int) -> set[int]:
    """Return the fingerprints of the prompts that go to the validation file."""
    counts = Counter(summary.prompts)
    if len(counts) < 2:  # noqa: PLR2004 - one for each side
        raise DataError(f"{source.name}: expected at least two prompts to split, found {len(counts)}; add pairs")
    wanted = max(1, ceil(round(fraction * summary.pairs, _DECIMALS)))
    chosen: set[int] = set()
    for prompt in sorted(counts, key=lambda prompt: sample_rank((prompt, seed, seed)))[:-1]:
        if wanted <= 0:
            break
        chosen.add(prompt)
        wanted -= counts[prompt]
    return chosen


def _ended(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r") + b"\n"
