"""Rehearse a preference run on the embedded engine: what the pairs teach a small model, before a large one is paid.

Every pair is judged by models that saw neither it nor its prompt: prompts are dealt into folds, and for each fold a
model is tuned on the others, supervised and then by preference.
"""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from preftune.api.config import DPO, JobConfig
from preftune.api.fields import JobFields
from preftune.errors import DataError
from preftune.local import limits
from preftune.local.engine.encode import EncodedPair, cut_pair, encode_pair
from preftune.pairs.conversion import read_placed
from preftune.pairs.finding import plural
from preftune.pairs.fingerprint import sample_rank
from preftune.pairs.pair import Message, PreferencePair
from preftune.pairs.rules.pair import folded
from preftune.pairs.sources import Source
from preftune.pairs.survey import prompt_text
from preftune.recipes import shortcuts
from preftune.recipes.folds import Numbers, course, method_of, of_seen, of_unseen, run_folds
from preftune.recipes.rehearsal import Case, Rehearsal
from preftune.recipes.stages import StageFields, dpo_stage, sft_stage

PAIRS, FOLDS = 1_000, 3
# What is not said of the jobs: an engine that starts from nothing needs many small steps to say anything
_SFT: JobFields = {"n_epochs": 3, "batch_size": 4, "training_type": "Full"}
_DPO: JobFields = {"n_epochs": 3, "batch_size": 8}
_MODEL = "the embedded engine"
_SEED = 20231203  # of the order in which prompts are dealt
_CHOICE = re.compile(r"; pass (?=(?:source|label|pairing|ties)=)")  # how `read` asks for what `convert` takes too
_NO_ANSWER = "the budget leaves no answer behind the prompt"

Placed: TypeAlias = tuple[str, PreferencePair]  # the words for where a pair stands, and the pair
Conversation: TypeAlias = tuple[Sequence[Message], Message]  # a prompt's messages, and an answer
Score: TypeAlias = Callable[[Sequence[Conversation]], Sequence[tuple[float, int]]]


def rehearse(
    data: Source | Iterable[PreferencePair],
    config: StageFields | DPO = None,
    *,
    sft: StageFields = None,
    score: Score | None = None,
    reference: Score | None = None,
    pairs: int = PAIRS,
    folds: int = FOLDS,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rehearsal:
    """Return what the pairs of a file, of rows in any known layout, or of PreferencePairs teach, and what they do not.

    `config` is the preference job to rehearse, or its method alone; `sft` the supervised tuning before it. What they do
    not say of epochs and batches is chosen for the engine. Of a larger set `pairs` are taken, by a hash of their
    prompts. `workers` processes run the folds, one a core unless stated; `progress` is called with how many folds are
    done, and of how many.

    `score` takes the engine's place: it is called with (prompt messages, answer message) of many answers and returns
    their summed log-probability, in nats, and number of tokens under a model of yours. Nothing is trained then.
    `reference` scores them under another model, for implicit rewards; it needs `score`.

    Raises DataError for data that cannot be read or is too little to hold some of it out, and ConfigError or pydantic's
    ValidationError for the configurations.
    """
    start = time.monotonic()
    if reference is not None and score is None:
        raise DataError("reference: expected score= beside it, found none; the engine has its own reference")
    if workers is not None and workers < 1:
        raise DataError(f"workers={workers}: expected at least 1; leave it out for one a core")
    dpo, tuned = _stages(config, sft)
    name, found, dropped = _read(data)
    taken, encoded, cut = _sample(found, pairs), list[EncodedPair](), 0
    if score is None:
        taken, encoded, cut = _fitting(taken, dpo, dropped)
    deal = _dealt(name, [pair for _, pair in taken], folds, dropped)
    said: dict[str, Any]
    if score is None:
        done = run_folds(encoded, deal, sft=tuned, dpo=dpo, workers=workers, progress=progress)
        lengths = np.array([(pair.chosen.targets.size, pair.rejected.targets.size) for pair in encoded], np.float64)
        unseen, seen = of_unseen(done, deal), of_seen(done, deal)
        bits = -unseen[0, :, 0].sum() / lengths[:, 0].sum() / np.log(2)
        said = {
            "logps": _named(unseen[1], unseen[0], lengths),
            "trained": _named(seen[1], seen[0], lengths),
            "bits": float(bits),
            "course": tuple(course(done)),
            "rows": tuple(done[0].rows),
        }
    else:
        said = {"logps": _asked_for(taken, score, reference)}
    longer, by_length = shortcuts.by_length([pair for _, pair in taken])
    return Rehearsal(
        name=name,
        total=len(found),
        dropped=dict(dropped),
        cut=cut,
        method=method_of(dpo),
        folds=folds if score is None else 0,
        cases=tuple(Case.of(*placed) for placed in taken),
        longer=longer,
        by_length=by_length,
        by_words=shortcuts.by_words([pair for _, pair in taken], deal),
        seconds=time.monotonic() - start,
        **said,
    )


def _stages(config: StageFields | DPO, sft: StageFields) -> tuple[JobConfig, JobConfig]:
    given: StageFields = {"training_method": config} if isinstance(config, DPO) else config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unwise about the knobs is what the rehearsal shows
        dpo, tuned = dpo_stage(given, _MODEL, evaluate=True), sft_stage(sft, _MODEL, evaluate=True)
        return _filled(dpo, _DPO), _filled(tuned, _SFT)


def _filled(config: JobConfig, defaults: JobFields) -> JobConfig:
    return config.replace(**{name: value for name, value in defaults.items() if name not in config.model_fields_set})


def _read(data: Source | Iterable[PreferencePair]) -> tuple[str, list[Placed], Counter[str]]:
    """Return what messages call the source, its pairs with their places, and why rows made no pair."""
    given: Any = list(data) if isinstance(data, Iterator) else data
    if isinstance(given, Iterable) and isinstance(next(iter(given), None), PreferencePair):
        return "the pairs", [(f"pair {number}", pair) for number, pair in enumerate(given, start=1)], Counter()
    try:
        name, reading = read_placed(given, unfit="drop")
        return name, list(reading), reading.dropped
    except DataError as error:
        raise DataError(_CHOICE.sub("; convert it first, with ", str(error)), error.findings) from None


def _sample(found: list[Placed], most: int) -> list[Placed]:
    """Return at most so many pairs in their order, all of a prompt or none of it but for the last."""
    if most < 1:
        raise DataError(f"pairs={most}: expected at least 1; leave it out for {PAIRS:,}")
    ranks = [_rank(_prompt(pair)) for _, pair in found]
    chosen = sorted(sorted(range(len(found)), key=lambda at: (ranks[at], at))[:most])
    return [found[at] for at in chosen]


def _fitting(
    placed: list[Placed], config: JobConfig, dropped: Counter[str]
) -> tuple[list[Placed], list[EncodedPair], int]:  # fmt: skip
    """Return the pairs of which the budget leaves both answers, as the engine reads them, and how many it cuts."""
    budget = config.max_seq_length or limits.MAX_LENGTH_DPO
    kept, encoded, cut = [], [], 0
    for place, pair in placed:
        sides = cut_pair(pair, budget)
        found = encode_pair(sides)
        if found is None:
            dropped[_NO_ANSWER] += 1
        else:
            kept.append((place, pair))
            encoded.append(found)
            cut += not all(side.whole for side in sides)
    return kept, encoded, cut


def _dealt(
    name: str, pairs: Sequence[PreferencePair], folds: int, dropped: Mapping[str, int]
) -> NDArray[np.int64]:  # fmt: skip
    """Return the fold of each pair, (n,); pairs of one prompt, spaces and case aside, are in one fold."""
    prompts = [_prompt(pair) for pair in pairs]
    order = sorted(set(prompts), key=lambda prompt: (_rank(prompt), prompt))
    if folds < 2 or len(order) < 2 * folds:  # noqa: PLR2004 - something to learn from, something to judge by
        found = f"{plural(len(order), 'prompt')} for {plural(folds, 'fold')}"
        found += "".join(f", {count:,} left out ({why})" for why, count in dropped.items())
        expected = "expected at least 2 folds and twice as many different prompts"
        raise DataError(f"{name}: {expected}, found {found}; take more pairs or fewer folds")
    fold = {prompt: number % folds for number, prompt in enumerate(order)}
    return np.array([fold[prompt] for prompt in prompts])


def _prompt(pair: PreferencePair) -> str:
    return str(folded(prompt_text(pair)))


def _rank(prompt: str) -> int:
    return sample_rank((crc32(prompt.encode("utf-8", "replace")), _SEED, _SEED))


def _asked_for(placed: Sequence[Placed], score: Score, reference: Score | None) -> dict[str, Numbers]:
    """Return what a caller's models say of the pairs."""
    policy, lengths = _asked("score", placed, score)
    at_start = None if reference is None else _asked("reference", placed, reference)[0]
    return _named(policy, at_start, lengths)


def _asked(what: str, placed: Sequence[Placed], score: Score) -> tuple[Numbers, Numbers]:
    """Return log-probabilities and lengths, each (n, 2): chosen, rejected."""
    asked = [(pair.prompt, answer) for _, pair in placed for answer in (pair.chosen, pair.rejected)]
    answered = score(asked)
    expected = f"{what}: expected a log-probability and a number of tokens for each of {len(asked)} answers"
    try:
        found = np.array([tuple(each) for each in answered], np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{expected}, found something else ({error}); return one pair of numbers each") from error
    if found.shape != (len(asked), 2):
        raise DataError(f"{expected}, found an array of shape {found.shape}; return one pair of numbers each")
    wrong = np.flatnonzero(~(np.isfinite(found[:, 0]) & (found[:, 1] >= 1)))
    if wrong.size:
        at = int(wrong[0])
        place, side = placed[at // 2][0], "rejected" if at % 2 else "chosen"
        raise DataError(
            f"{place}: expected {what} to return a finite number and at least one token for the {side} answer, "
            f"found {found[at, 0]:g} and {found[at, 1]:g}; leave such pairs out"
        )
    return found[:, 0].reshape(-1, 2), found[:, 1].reshape(-1, 2)


def _named(policy: Numbers, reference: Numbers | None, lengths: Numbers) -> dict[str, Numbers]:
    kinds = {"policy_{}_logps": policy, "reference_{}_logps": reference, "{}_lengths": lengths}
    sides = enumerate(("chosen", "rejected"))
    return {
        form.format(side): array[:, column]
        for column, side in sides
        for form, array in kinds.items()
        if array is not None
    }
