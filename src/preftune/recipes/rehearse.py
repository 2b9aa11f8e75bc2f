"""Rehearse a preference run on the embedded engine: what the pairs teach a small model, before a large one is paid.

Every pair is judged by models that saw neither it nor its prompt: prompts are dealt into folds, and for each fold a
model is tuned on the others, supervised and then by preference. The folds run in processes of one thread each, so the
numbers are the same on every machine and with any number of workers.
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from preftune.api.config import DPO, JobConfig
from preftune.api.fields import JobFields
from preftune.api.models import MetricRow, metric_rows
from preftune.errors import DataError
from preftune.local import limits
from preftune.local.engine.encode import EncodedPair, cut_pair, encode_pair
from preftune.local.engine.model import base_weights
from preftune.local.engine.objectives import Preference, Supervised
from preftune.local.engine.plan import parameters_of, settings_of
from preftune.local.engine.train import Row, train
from preftune.pairs.conversion import read_placed
from preftune.pairs.finding import plural
from preftune.pairs.fingerprint import fingerprints, sample_rank
from preftune.pairs.pair import Message, PreferencePair
from preftune.pairs.processes import Processes, cores, startable
from preftune.pairs.sources import Source
from preftune.recipes import shortcuts
from preftune.recipes.rehearsal import Case, Rehearsal
from preftune.recipes.stages import StageFields, dpo_stage, sft_stage

PAIRS, FOLDS = 1_000, 3
# What is not said of the jobs: an engine that starts from nothing needs many small steps to say anything
_SFT: JobFields = {"n_epochs": 3, "batch_size": 4, "training_type": "Full"}
_DPO: JobFields = {"n_epochs": 3, "batch_size": 8}
_EVALS = 6  # looks at the held-out pairs while the first fold learns
_MODEL = "the embedded engine"
_SEED = 20231203  # of the order in which prompts are dealt
_CHOICE = re.compile(r"; pass (?=(?:source|label|pairing|ties)=)")  # how `read` asks for what `convert` takes too

Numbers: TypeAlias = NDArray[np.float64]
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
    places, taken = _sample(found, pairs)
    deal = _dealt(name, taken, folds, dropped)
    if score is None:
        encoded = [_encoded(place, pair, dpo) for place, pair in zip(places, taken, strict=True)]
        scored = _on_the_engine(encoded, deal, dpo, tuned, workers=workers, progress=progress)
    else:
        scored = _by_callables(places, taken, score, reference)
    return Rehearsal(
        name=name,
        total=len(found),
        dropped=dropped,
        method=_method(dpo),
        folds=folds if score is None else 0,
        cases=tuple(map(Case.of, places, taken)),
        logps=scored.logps,
        by_length=shortcuts.by_length(taken),
        by_words=shortcuts.by_words(taken, deal),
        fitted=scored.fitted,
        bits=scored.bits,
        rows=tuple(scored.rows),
        seconds=time.monotonic() - start,
    )


@dataclass(frozen=True, eq=False)
class _Scored:
    """What the models said of n pairs."""

    logps: dict[str, Numbers]  # each (n,), by the names of the arguments of `preference_loss`
    fitted: Numbers | None = None  # (n,) margin by models that were trained on the pair
    rows: Sequence[MetricRow] = ()
    bits: float | None = None  # bits a byte that the model needs for a chosen answer it has not seen


def _stages(config: StageFields | DPO, sft: StageFields) -> tuple[JobConfig, JobConfig]:
    given: StageFields = {"training_method": config} if isinstance(config, DPO) else config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unwise about the knobs is what the rehearsal shows
        dpo, tuned = dpo_stage(given, _MODEL, evaluate=True), sft_stage(sft, _MODEL, evaluate=True)
        return _filled(dpo, _DPO), _filled(tuned, _SFT)


def _filled(config: JobConfig, defaults: JobFields) -> JobConfig:
    return config.replace(**{name: value for name, value in defaults.items() if name not in config.model_fields_set})


def _method(config: JobConfig) -> DPO:
    assert isinstance(config.training_method, DPO)  # noqa: S101 - dpo_stage saw to it; narrows for the type checker
    return config.training_method


def _read(data: Source | Iterable[PreferencePair]) -> tuple[str, list[tuple[str, PreferencePair]], dict[str, int]]:
    """Return what messages call the source, its pairs with their places, and why rows made no pair."""
    given: Any = list(data) if isinstance(data, Iterator) else data
    if isinstance(given, Iterable) and isinstance(next(iter(given), None), PreferencePair):
        return "the pairs", [(f"pair {number}", pair) for number, pair in enumerate(given, start=1)], {}
    try:
        name, reading = read_placed(given, unfit="drop")
        return name, list(reading), dict(reading.dropped)
    except DataError as error:
        raise DataError(_CHOICE.sub("; convert it first, with ", str(error)), error.findings) from None


def _sample(found: list[tuple[str, PreferencePair]], most: int) -> tuple[list[str], list[PreferencePair]]:
    """Return at most so many pairs in their order, all of a prompt or none of it but for the last."""
    if most < 1:
        raise DataError(f"pairs={most}: expected at least 1; leave it out for {PAIRS:,}")
    ranks = [sample_rank((fingerprints(pair)[0], _SEED, _SEED)) for _, pair in found]
    chosen = sorted(islice(sorted(range(len(found)), key=lambda at: (ranks[at], at)), most))
    return [found[at][0] for at in chosen], [found[at][1] for at in chosen]


def _dealt(
    name: str, pairs: Sequence[PreferencePair], folds: int, dropped: Mapping[str, int]
) -> NDArray[np.int64]:  # fmt: skip
    """Return the fold of each pair, (n,); pairs of one prompt are in one fold."""
    prompts = [fingerprints(pair)[0] for pair in pairs]
    order = sorted(set(prompts), key=lambda prompt: sample_rank((prompt, _SEED, _SEED)))
    if folds < 2 or len(order) < 2 * folds:  # noqa: PLR2004 - something to learn from, something to judge by
        found = f"{plural(len(order), 'prompt')} for {plural(folds, 'fold')}"
        found += "".join(f", {count:,} left out ({why})" for why, count in dropped.items())
        expected = "expected at least 2 folds and twice as many different prompts"
        raise DataError(f"{name}: {expected}, found {found}; take more pairs or fewer folds")
    fold = {prompt: number % folds for number, prompt in enumerate(order)}
    return np.array([fold[prompt] for prompt in prompts])


def _on_the_engine(
    encoded: Sequence[EncodedPair],
    deal: NDArray[np.int64],
    dpo: JobConfig,
    sft: JobConfig,
    *,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> _Scored:
    """Return what engines say of the pairs that they were not trained on."""
    folds = int(deal.max()) + 1
    seen = [[pair for pair, dealt in zip(encoded, deal, strict=True) if dealt != fold] for fold in range(folds)]
    unseen = [[pair for pair, dealt in zip(encoded, deal, strict=True) if dealt == fold] for fold in range(folds)]
    count = min(folds, cores() if workers is None else workers)
    done: list[Fold] = []
    try:
        with Processes(count, limits.ONE_THREAD) if startable() else nullcontext() as pool:
            each = (pool.map if pool else map)(run_fold, seen, unseen, [sft] * folds, [dpo] * folds, range(folds))
            for outcome in each:
                done.append(outcome)
                if progress:
                    progress(len(done), folds)
    except BrokenExecutor as error:
        raise DataError(f"rehearse: a process that ran a fold was lost ({error})") from error
    return _joined(encoded, deal, done)


@dataclass(frozen=True, eq=False)
class Fold:
    """What one fold's models said of the m pairs held out, and of the others, which they were trained on."""

    before: Numbers  # (m, 2) log-probabilities, chosen and rejected, after the supervised tuning
    after: Numbers  # (m, 2) after the preference tuning
    fitted: Numbers  # (n - m,) how much the chosen answer gained on the rejected one in training, nats
    rows: list[MetricRow]


@np.errstate(all="ignore")  # a run that diverges is told by its numbers
def run_fold(
    seen: Sequence[EncodedPair], unseen: Sequence[EncodedPair], sft: JobConfig, dpo: JobConfig, number: int
) -> Fold:  # fmt: skip
    """Tune a model on some pairs and return what it says of the others; the first fold is evaluated on the way."""
    supervised = Supervised([pair.chosen for pair in seen])
    learned, held_out = (Preference(pairs, _method(dpo)) for pairs in (seen, unseen))
    parameters = parameters_of(sft, base_weights())
    for _ in train(parameters, supervised, replace(settings_of(sft), evals=0, early_stopping=None)):
        pass
    parameters = parameters_of(dpo, parameters.merged())
    before, at_start = held_out.score(parameters), learned.score(parameters)
    settings = replace(settings_of(dpo), evals=0 if number else _EVALS, early_stopping=None)
    rows = [item for item in train(parameters, learned, settings, held_out) if isinstance(item, Row)]
    gained = learned.score(parameters) - at_start
    told = [row for each in rows for row in metric_rows(each.wire(dpo.learning_rate))]
    return Fold(before, held_out.score(parameters), gained[:, 0] - gained[:, 1], [] if number else told)


def _joined(encoded: Sequence[EncodedPair], deal: NDArray[np.int64], folds: Sequence[Fold]) -> _Scored:
    """Return what the folds said, each pair in its place."""
    before, after, fitted = np.zeros((deal.size, 2)), np.zeros((deal.size, 2)), np.zeros(deal.size)
    for number, fold in enumerate(folds):
        before[deal == number], after[deal == number] = fold.before, fold.after
        fitted[deal != number] += fold.fitted / (len(folds) - 1)
    lengths = np.array([(pair.chosen.targets.size, pair.rejected.targets.size) for pair in encoded], np.float64)
    bits = -before[:, 0].sum() / max(1.0, lengths[:, 0].sum()) / np.log(2)
    return _Scored(_named(after, before, lengths), fitted, folds[0].rows, float(bits))


def _encoded(place: str, pair: PreferencePair, config: JobConfig) -> EncodedPair:
    budget = config.max_seq_length or limits.MAX_LENGTH_DPO
    found = encode_pair(cut_pair(pair, budget))
    if found is None:
        hint = "raise max_seq_length, or shorten the prompt"
        raise DataError(f"{place}: expected an answer within {budget} bytes, found none behind the prompt; {hint}")
    return found


def _by_callables(
    places: Sequence[str], pairs: Sequence[PreferencePair], score: Score, reference: Score | None
) -> _Scored:  # fmt: skip
    """Return what a caller's models say of the pairs."""
    policy, lengths = _asked("score", places, pairs, score)
    at_start = None if reference is None else _asked("reference", places, pairs, reference)[0]
    return _Scored(_named(policy, at_start, lengths))


def _asked(
    what: str, places: Sequence[str], pairs: Sequence[PreferencePair], score: Score
) -> tuple[Numbers, Numbers]:  # fmt: skip
    """Return log-probabilities and lengths, each (n, 2): chosen, rejected."""
    asked = [(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
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
        place, side = places[at // 2], "rejected" if at % 2 else "chosen"
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
