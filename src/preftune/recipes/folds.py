"""The folds of a rehearsal: each an engine of its own, tuned on some pairs and asked about all of them.

Each runs in a process of one thread, so the numbers do not depend on how many run at once, nor on the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from preftune.api.config import DPO, JobConfig
from preftune.api.models import MetricRow, metric_rows
from preftune.errors import DataError
from preftune.local import limits
from preftune.local.engine.encode import EncodedPair
from preftune.local.engine.model import base_weights
from preftune.local.engine.objectives import Preference, Supervised
from preftune.local.engine.plan import parameters_of, settings_of
from preftune.local.engine.train import Row, train
from preftune.pairs.processes import Processes, cores, startable

_LOOKS = 6  # at the pairs held out, while an engine learns

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fold:
    """What one fold's engine said of the m pairs held out, and of the others; columns are chosen and rejected."""

    unseen: Numbers  # (2, m, 2) log-probabilities before and after the preference tuning
    seen: Numbers  # (2, n - m, 2) the same of the pairs that it was tuned on
    rows: list[MetricRow]  # of the preference tuning


def run_folds(
    encoded: Sequence[EncodedPair],
    deal: NDArray[np.int64],
    *,
    sft: JobConfig,
    dpo: JobConfig,
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[Fold]:
    """Return what the engine of each fold says, the fold of each pair given by `deal`, (n,)."""
    folds = int(deal.max()) + 1
    seen = [[pair for pair, dealt in zip(encoded, deal, strict=True) if dealt != fold] for fold in range(folds)]
    unseen = [[pair for pair, dealt in zip(encoded, deal, strict=True) if dealt == fold] for fold in range(folds)]
    count = min(folds, cores() if workers is None else workers)
    done: list[Fold] = []
    try:
        with Processes(count, limits.ONE_THREAD) if startable() else nullcontext() as pool:
            for outcome in (pool.map if pool else map)(run_fold, seen, unseen, [sft] * folds, [dpo] * folds):
                done.append(outcome)
                if progress:
                    progress(len(done), folds)
    except BrokenExecutor as error:
        raise DataError(f"rehearse: a process that ran a fold was lost ({error})") from error
    return done


@np.errstate(all="ignore")  # a run that diverges is told by its numbers
def run_fold(seen: Sequence[EncodedPair], unseen: Sequence[EncodedPair], sft: JobConfig, dpo: JobConfig) -> Fold:
    """Tune an engine on some pairs, supervised and by preference, and return what it says of them and of the others."""
    method = method_of(dpo)
    supervised = Supervised([pair.chosen for pair in seen])
    learned, held_out = (Preference(pairs, method) for pairs in (seen, unseen))
    parameters = parameters_of(sft, base_weights())
    for _ in train(parameters, supervised, replace(settings_of(sft), evals=0, early_stopping=None)):
        pass
    parameters = parameters_of(dpo, parameters.merged())
    before = held_out.score(parameters), learned.score(parameters)
    settings = replace(settings_of(dpo), evals=_LOOKS, early_stopping=None)
    rows = [item for item in train(parameters, learned, settings, held_out) if isinstance(item, Row)]
    return Fold(
        np.stack([before[0], held_out.score(parameters)]),
        np.stack([before[1], learned.score(parameters)]),
        [row for each in rows for row in metric_rows(each.wire(dpo.learning_rate))],
    )


def method_of(config: JobConfig) -> DPO:
    """Return the method of a preference job."""
    assert isinstance(config.training_method, DPO)  # noqa: S101 - dpo_stage saw to it; narrows for the type checker
    return config.training_method


def of_unseen(folds: Sequence[Fold], deal: NDArray[np.int64]) -> Numbers:
    """Return log-probabilities before and after, (2, n, 2), each pair by the engine that was not tuned on it."""
    found = np.zeros((2, deal.size, 2))
    for number, fold in enumerate(folds):
        found[:, deal == number] = fold.unseen
    return found


def of_seen(folds: Sequence[Fold], deal: NDArray[np.int64]) -> Numbers:
    """Return log-probabilities before and after, (2, n, 2), each pair by the mean of the engines tuned on it."""
    found = np.zeros((2, deal.size, 2))
    for number, fold in enumerate(folds):
        found[:, deal != number] += fold.seen / (len(folds) - 1)
    return found


def course(folds: Sequence[Fold]) -> list[float]:
    """Return the loss on unseen pairs at each look, the mean over the folds by their numbers of pairs.

    A fold of fewer steps than looks has fewer of them; the others are then read as far into their own.
    """
    paths = [[row.loss for row in fold.rows if row.split == "eval" and row.loss is not None] for fold in folds]
    sizes = [fold.unseen.shape[1] for fold in folds]
    looks = min(map(len, paths))
    at = [[path[look * len(path) // looks - 1] for path in paths] for look in range(1, looks + 1)]
    return [float(np.average(losses, weights=sizes)) for losses in at]
