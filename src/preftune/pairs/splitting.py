"""Two files from one, so that no prompt is on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from preftune.errors import DataError
from preftune.pairs.finding import plural
from preftune.pairs.fingerprint import place_in_sample
from preftune.pairs.jsonl import BOM, existing_file, raw_lines
from preftune.pairs.summary import Summary, scan
from preftune.pairs.writing import writing


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
    """Write the pairs of a preference file to two files, byte for byte and in their order, by prompt.

    Prompts are taken for the validation file in the order of a hash seeded with `seed`, until it has at least
    `fraction` of the pairs (and both files have one prompt). Raises DataError for a file with an error on any line,
    for one with fewer than two prompts, and where a target cannot be written; nothing is left then.
    """
    source, targets = existing_file(path), (Path(train), Path(validation))
    if not 0 < fraction < 1:
        raise DataError(
            f"fraction={fraction}: expected a share between 0 and 1; 0.1 gives a tenth to the validation file"
        )
    summary = scan(source, sample=0)
    _refuse_faults(source, summary)
    chosen = _validation_prompts(source, summary, fraction, seed)
    sides = iter(zip(summary.numbers, (prompt in chosen for prompt in summary.prompts), strict=True))
    counts = Counter[bool]()
    with _both(source, targets) as files:
        number, aside = next(sides)
        for line, (offset, raw) in enumerate(raw_lines(source), start=1):
            if line == number:
                files[aside].write(_ended(raw.removeprefix(BOM) if offset == 0 else raw))
                counts[aside] += 1
                number, aside = next(sides, (0, False))
    return Split(*targets, counts[False], counts[True], len(set(summary.prompts)))


def _refuse_faults(source: Path, summary: Summary) -> None:
    fault = next((finding for finding in summary.problems.findings() if finding.refused and not finding.fixable), None)
    if fault:
        place = f"{source.name}:{fault.lines[0]}"
        raise DataError(f"{place}: {fault.message}; mend the file first: preftune check {source.name}")


def _validation_prompts(source: Path, summary: Summary, fraction: float, seed: int) -> set[int]:
    """Return the fingerprints of the prompts that go to the validation file."""
    counts = Counter(summary.prompts)
    if len(counts) < 2:  # noqa: PLR2004 - one for each side
        raise DataError(f"{source.name}: expected at least two prompts to split, found {len(counts)}; add pairs")
    wanted = fraction * summary.pairs
    chosen: set[int] = set()
    for prompt in sorted(counts, key=lambda prompt: place_in_sample((prompt, seed, seed)))[:-1]:
        if wanted <= 0:
            break
        chosen.add(prompt)
        wanted -= counts[prompt]
    return chosen


@contextmanager
def _both(source: Path, targets: tuple[Path, Path]) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open both targets under temporary names that become theirs when all went well."""
    with ExitStack() as stack:
        files = [stack.enter_context(writing(target, source)) for target in targets]
        yield files[0], files[1]


def _ended(raw: bytes) -> bytes:
    return raw.removesuffix(b"\n").removesuffix(b"\r") + b"\n"
