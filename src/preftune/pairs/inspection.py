"""`check`: every line is scanned, the sample surveyed, and every finding reported."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path

from preftune.errors import DataError
from preftune.pairs.finding import Gathering
from preftune.pairs.jsonl import existing_file
from preftune.pairs.measures import Stats, measure
from preftune.pairs.processes import Processes, cores, startable
from preftune.pairs.report import Report
from preftune.pairs.rules import bias, line, repeats, similar
from preftune.pairs.rules.line import ENOUGH
from preftune.pairs.summary import SAMPLE, Summary, merge, scan
from preftune.pairs.survey import Array, Survey, counted_rank, join, prompt_text, read_places, survey
from preftune.pairs.tokens import Budget, Tokenizer, budget

_PART = 64 * 2**20  # bytes of a file that are worth a process of their own
_PLACES = 2_500  # sampled pairs, the same
Progress = Callable[[int, int], None]  # bytes read so far, bytes in all


def check(
    path: str | Path,
    *,
    validation: str | Path | None = None,
    max_seq_length: int | None = None,
    tokens_per_side: int | None = None,
    tokenizer: Tokenizer | None = None,
    sample: int = SAMPLE,
    workers: int | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Report:
    """Return every finding about a preference file (.jsonl), offline.

    Every line is seen by the rules on lines, rows and repeats; the costlier rules see `sample` pairs, chosen by a
    seeded hash, and none with 0. `validation` is a second preference file, for leakage. A side's budget is
    `tokens_per_side`, else half of `max_seq_length`, in tokens of `tokenizer` (see `pairs.tokens.token_counter`), or
    of an estimate. A large file is read by `workers` processes, one for each core unless stated, or by the caller's
    `executor`, whose workers must see the file under the same path; the report is the same. `progress` is called with
    the bytes read so far and in all.

    Raises DataError where there is no such file to read (nothing there, a folder, another extension) and for an
    argument out of its range, never for what stands in the file.
    """
    path = _jsonl(path)
    if sample < 0 or (workers is not None and workers < 1):
        raise DataError(
            f"sample={sample}, workers={workers}: expected at least 0 and 1; leave them out for the defaults"
        )
    counting = budget(tokenizer, max_seq_length=max_seq_length, tokens_per_side=tokens_per_side)
    other = None if validation is None else _jsonl(validation)
    count = cores() if workers is None else workers
    try:
        with _pool(path, workers, executor) as pool:
            return _inspect(path, other, counting, _Reading(sample, count, pool, progress))
    except BrokenExecutor as error:
        raise DataError(f"{path}: a process that read a part of it was lost ({error})") from error


@dataclass(frozen=True)
class _Reading:
    """How a file is read: how large a sample, by whom, and who wants to know how far it is."""

    sample: int = SAMPLE
    workers: int = 1
    pool: Executor | None = None
    progress: Progress | None = None


def refusals(path: Path, *, progress: Progress | None = None) -> Report:
    """Return the report of the rules that see every line, about a file of any name, read in this process."""
    counting = budget(None, max_seq_length=None, tokens_per_side=None)
    return _inspect(path, None, counting, _Reading(sample=0, progress=progress))


def _inspect(path: Path, validation: Path | None, counting: Budget, reading: _Reading) -> Report:
    """Return every finding about a file that is known to be there, whatever its name."""
    size = path.stat().st_size
    found = Gathering()
    found.add_all(line.size(size))
    kinds = list(line.another_kind(path))
    if kinds:
        found.add_all(kinds)
        return Report(path, found.findings(), Stats(bytes=size, lines=0, pairs=0, duplicates=0, identical=0))
    summary = _scan(path, size, reading)
    other = None if validation is None else _Validation.read(validation, reading.sample)
    surveyed = _survey(path, summary, counting, reading, other)
    for part in (_every_line(summary), _leaks(summary, surveyed, other), _sampled(summary.pairs, surveyed)):
        found.merge(part)
    findings = found.findings()
    return Report(path, findings, measure(size, summary, surveyed, counting, findings))


def _every_line(summary: Summary) -> Gathering:
    """Return what the rules found that see every line."""
    found = Gathering()
    found.merge(summary.problems)
    found.add_all(line.empty_file(summary.rows))
    for problem, number in repeats.repeats(summary):
        found.add(problem, number)
    return found


def _sampled(pairs: int, surveyed: Survey | None) -> Gathering:
    """Return what the rules found that see the sample, pair by pair or as a whole, in a file of so many pairs."""
    found = Gathering()
    if surveyed is not None:
        found.merge(surveyed.problems)
        found.add_all(line.few_pairs(pairs))
        if len(surveyed) >= ENOUGH:
            found.add_all(bias.whole_set(surveyed))
            found.add_all(similar.near_duplicate_prompts(surveyed.prompts, surveyed.signatures))
    return found


def _leaks(summary: Summary, surveyed: Survey | None, validation: _Validation | None) -> Gathering:
    """Return what the file shares with the validation file."""
    found = Gathering()
    if validation is not None:
        found.add_all(line.unread_validation(validation.summary.rows, validation.summary.pairs))
        for problem, number in repeats.leakage(summary, validation.summary):
            found.add(problem, number)
        if surveyed is not None and len(surveyed) >= ENOUGH:
            found.add_all(similar.near_leakage(surveyed.signatures, surveyed.overlapping, validation.signatures))
    return found


@dataclass(frozen=True)
class _Validation:
    """What leakage needs to know of the validation file."""

    summary: Summary
    signatures: Array  # of the sampled prompts
    grams: Array  # their runs of 13 words

    @classmethod
    def read(cls, path: Path, sample: int) -> _Validation:
        """Return what stands in the file; lines that hold no pair are left out."""
        summary = scan(path, sample=sample)
        prompts = [prompt_text(pair) for _, pair in read_places(path, summary.sample)]
        return cls(summary, similar.signatures(prompts), similar.all_grams(prompts))


def _scan(path: Path, size: int, reading: _Reading) -> Summary:
    """Return the summary of the file, read in one piece or by the pool in parts."""
    told = _telling(reading.progress, size)
    if reading.pool is None:
        return scan(path, sample=reading.sample, progress=told)
    rounds = max(1, -(-size // (reading.workers * _PART)))  # as many parts for each worker
    parts = reading.workers * rounds
    bounds = [size * part // parts for part in range(parts + 1)]
    # map lets go of each result as it is handed on, so that no pair is held twice
    found = reading.pool.map(partial(scan, path, sample=reading.sample), bounds[:-1], bounds[1:])
    return reduce(merge, _as_they_come(found, told))


def _as_they_come(found: Iterator[Summary], told: Callable[[int], None] | None) -> Iterator[Summary]:
    for summary in found:
        if told:
            told(summary.bytes)
        yield summary


def _telling(progress: Progress | None, size: int) -> Callable[[int], None] | None:
    """Return a function that is told of further bytes and tells `progress` of all so far."""
    if progress is None:
        return None
    done = 0

    def told(more: int) -> None:
        nonlocal done
        done += more
        progress(done, size)

    return told


def _survey(
    path: Path, summary: Summary, counting: Budget, reading: _Reading, validation: _Validation | None
) -> Survey | None:
    """Return the survey of the sample; a caller's tokenizer stays in this process, for few of them can be sent."""
    places = sorted(summary.sample, key=lambda place: place.line)
    known = None if validation is None else validation.grams
    last = counted_rank(summary.sample)
    if not places:
        return None
    if reading.pool is None or not counting.estimated:
        return survey(path, places, counting, known=known, last_counted=last)
    parts = [places[start : start + _PLACES] for start in range(0, len(places), _PLACES)]
    return join(list(reading.pool.map(partial(survey, path, budget=counting, known=known, last_counted=last), parts)))


def _pool(path: Path, workers: int | None, executor: Executor | None) -> AbstractContextManager[Executor | None]:
    """Return who reads the file: the caller's executor, processes of our own for a large file, or nobody else."""
    if executor is not None:
        return nullcontext(executor)
    count = min(cores(), -(-path.stat().st_size // _PART)) if workers is None else workers
    return Processes(count) if count > 1 and startable() else nullcontext()


def _jsonl(path: str | Path) -> Path:
    """Return the path of an existing .jsonl file."""
    path = existing_file(path)
    if path.suffix.lower() != ".jsonl":
        found = path.suffix or "no extension"
        hint = "rename it if it is JSON Lines"
        if path.name.lower().endswith((".json", ".json.gz", ".jsonl.gz", ".parquet")):
            target = shlex.quote(path.name.split(".", 1)[0] + ".pairs.jsonl")
            hint = f"convert it: preftune convert {shlex.quote(str(path))} {target}"
        raise DataError(f"{path}: expected a .jsonl file, found {found!r}; {hint}")
    return path
