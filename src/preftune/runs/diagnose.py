"""What the curves of a run say: rules in a fixed order, of which the first that matches is the verdict.

Thresholds were chosen on runs of a small transformer whose faults are known by construction; each is a named constant.
Deltas and KL come from evaluation rows where there are any, else from smoothed training rows, and the diagnosis says
which. A run of supervised tuning has a loss alone, and the rules that need more are silent. Source: docs/losses.md,
Reading a run; over-optimisation: arXiv 2406.02900; displacement: arXiv 2410.08847, 2402.13228.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from html import escape
from statistics import fmean
from typing import Any, TypeAlias

from pydantic import ValidationError

from preftune.api.config import DPO, SFT, JobConfig
from preftune.api.models import FineTuneJob, MetricRow, metric_rows

_TAIL_ROWS, _TAIL_SHARE = 20, 0.1  # the end of a run: its last 20 rows, or a tenth of them
_EARLY_ROWS, _EARLY_EVALS = 10, 2  # too-early: fewer of both say little
_FLAT_GRADIENT, _FLAT_LOSS = 1e-6, 1e-4  # no-signal
_STILL_LOSS, _STILL_KL = 0.01, 0.1  # too-small-steps
_SWAPPED_ACCURACY = 0.45
_TIED_LOSS, _TIED_ACCURACY = 0.97, 0.5
_OVERFIT_EVAL, _OVERFIT_TRAIN = 1.05, 0.8  # over-optimised: shares of the best evaluation loss
_NOISE_LOSS, _NOISE_ACCURACY = 0.99, 0.07  # label-noise
_SCALE_LOSS, _SCALE_ACCURACY, _SCALE_KL = 0.05, 0.55, 20.0  # beta-scale
_DRIFT_KL = 500.0
_REASSURANCE = " A small fall of the chosen side is normal while the rejected side falls faster."
_DISPLACED, _DISPLACED_SHARE = -5.0, 0.7  # nats, share of the rejected side's fall


Method: TypeAlias = DPO | SFT


@dataclass(frozen=True)
class Match:
    """A rule that matched: the numbers that made it match, and what to do."""

    rule: str
    evidence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.evidence}; {self.advice}"


@dataclass(frozen=True)
class Diagnosis:
    """What a run's curves say; `matches` begins with the verdict."""

    matches: tuple[Match, ...]
    description: str  # what each curve did, in words
    rows: str  # which rows the numbers are of

    @property
    def verdict(self) -> str:
        """Return the id of the first rule that matched."""
        return self.matches[0].rule

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain values, for JSON."""
        found = [{"rule": match.rule, "evidence": match.evidence, "advice": match.advice} for match in self.matches]
        return {"verdict": self.verdict, "matches": found, "description": self.description, "rows": self.rows}

    def to_json(self) -> str:
        """Return the diagnosis as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.matches), self.description, f"Seen: {self.rows}."])

    def _repr_html_(self) -> str:
        """Return the diagnosis for a notebook: the verdict, what speaks for it, what else matched."""
        first, *others = self.matches
        also = "".join(
            f"<li><b>{escape(one.rule)}</b>: {escape(one.evidence)}; {escape(one.advice)}</li>" for one in others
        )
        return (
            f"<p><b>{escape(first.rule)}</b>: {escape(first.evidence)}. <i>{escape(first.advice)}</i></p>"
            f"{f'<p>Also:</p><ul>{also}</ul>' if also else ''}"
            f"<p>{escape(self.description)} <small>Seen: {escape(self.rows)}.</small></p>"
        )


def diagnose(
    rows: Iterable[MetricRow | Mapping[str, Any]],
    *,
    config: JobConfig | Method | None = None,
    total_steps: int | None = None,
) -> Diagnosis:
    """Return what the curves of a run say, from MetricRows or from the server's own rows.

    Without `config` the loss is taken to be plain DPO, or that of supervised tuning where no row has anything else.
    `total_steps` tells a run that goes on from one that is over: while it warms up, or has hardly any rows, the verdict
    is too-early. Raises ValueError when there is no row with a loss.
    """
    curves = _Curves.of(rows, config, total_steps)
    healthy = Match("healthy", "none of the known faults shows", "go on; compare runs by their evaluation loss")
    early = None if _no_signal(curves) else _too_early(curves)
    alone = _nan(curves) or early  # what makes every other comparison meaningless
    matches = [alone] if alone else [match for rule in RULES if (match := rule(curves)) is not None]
    return Diagnosis(tuple(matches) or (healthy,), _describe(curves), curves.seen)


def method_of(job: FineTuneJob) -> Method | None:
    """Return the method of a job as the server tells it, or None where it tells none that is known."""
    block = job.training_method if isinstance(job.training_method, dict) else {}
    if block.get("method") != "dpo":
        return SFT() if block.get("method") == "sft" else None
    try:
        return DPO(**{name: block[name] for name in DPO.model_fields if block.get(name) is not None})
    except ValidationError:  # knobs of another server than we know
        return DPO()


@dataclass(frozen=True)
class _Curves:
    """The numbers that the rules read; what the rows do not tell is None."""

    method: DPO
    supervised: bool
    baseline: float  # the loss of a pair that is not learned at all; the first one where that is not known
    early: str | None  # why it is too early to say anything
    train: list[MetricRow]
    evals: list[MetricRow]
    tail_loss: float
    last_gradient: float | None
    kl: float | None
    fall_chosen: float | None
    fall_rejected: float | None

    @classmethod
    def of(
        cls, rows: Iterable[MetricRow | Mapping[str, Any]], config: JobConfig | Method | None, total_steps: int | None
    ) -> _Curves:
        typed = [row for item in rows for row in ([item] if isinstance(item, MetricRow) else metric_rows(item))]
        given = [_with_nan(row) for row in typed]
        ordered = sorted((row for row in given if row.loss is not None), key=lambda row: row.step or 0)
        train, evals = ([row for row in ordered if row.split == split] for split in ("train", "eval"))
        if not ordered:
            raise ValueError("rows: expected at least one row with a loss, found none; has the job begun?")
        found = config.training_method if isinstance(config, JobConfig) else config
        method = found if isinstance(found, DPO) else DPO()
        supervised = isinstance(found, SFT) or (found is None and not any(map(_prefers, ordered)))
        first_loss = (train or evals)[0].loss or 0.0
        tail = _tail(train or evals)
        telling = evals or train
        gradients = [row.grad_norm for row in tail if row.grad_norm is not None]
        return cls(
            method=method,
            supervised=supervised,
            baseline=first_loss if supervised or method.rpo_alpha else method.baseline,
            early=_early(train, evals, config, total_steps),
            train=train,
            evals=evals,
            tail_loss=fmean(row.loss or 0.0 for row in tail),
            last_gradient=max(gradients, default=None),
            kl=_larger(_end(telling, "kl_chosen"), _end(telling, "kl_rejected")),
            fall_chosen=_change(train, telling, "logps_chosen"),
            fall_rejected=_change(train, telling, "logps_rejected"),
        )

    @property
    def seen(self) -> str:
        """Return which rows the numbers are of."""
        tail = _tail(self.train)
        parts = [f"training rows of the steps {tail[0].step} to {tail[-1].step}, as means"] if tail else []
        return " and ".join([*parts, *([f"the evaluation at step {self.evals[-1].step}"] if self.evals else [])])

    @property
    def eval_loss(self) -> float | None:
        return self.evals[-1].loss if self.evals else None

    @property
    def accuracy(self) -> float | None:
        if self.evals:
            return self.evals[-1].accuracy
        return _end(self.train, "accuracy")


def _nan(curves: _Curves) -> Match | None:
    for row in (*curves.train, *curves.evals):
        values = (row.loss, row.grad_norm, row.kl_chosen, row.kl_rejected, row.logps_chosen, row.logps_rejected)
        if any(value is not None and not math.isfinite(value) for value in values):
            where = f"a value at step {row.step} ({row.split}) is not finite"
            return Match("nan", where, "look for a side without tokens in the data, or lower the learning rate")
    return None


def _early(
    train: list[MetricRow], evals: list[MetricRow], config: JobConfig | Method | None, total_steps: int | None
) -> str | None:
    """Return why it is too early to say anything about a run, or None."""
    step = max((row.step or 0 for row in (*train, *evals)), default=0)
    if total_steps is not None and step >= total_steps:
        return None
    warm = math.ceil(config.warmup_ratio * total_steps) if isinstance(config, JobConfig) and total_steps else 0
    if step < warm:
        return f"step {step} lies in the warm-up, which ends at step {warm}"
    if len(train) < _EARLY_ROWS and len(evals) < _EARLY_EVALS:
        return f"there are {len(train)} training rows and {len(evals)} evaluations"
    return None


def _prefers(row: MetricRow) -> bool:
    """Tell whether a row has anything that supervised tuning has not."""
    return any(getattr(row, name) is not None for name in ("accuracy", "kl_chosen", "logps_chosen", "rewards_chosen"))


def _too_early(curves: _Curves) -> Match | None:
    if curves.early is None:
        return None
    return Match("too-early", curves.early, "wait: the curves say something later, or cancel what was a slip")


def _with_nan(row: MetricRow) -> MetricRow:
    """Return a row whose loss is NaN where the server wrote null for it: JSON has no other way to say so."""
    return replace(row, loss=math.nan) if row.loss is None and f"{row.split}/loss" in row.raw else row


def _no_signal(curves: _Curves) -> Match | None:
    gradient = curves.last_gradient
    if gradient is None or gradient >= _FLAT_GRADIENT or abs(curves.tail_loss - curves.baseline) >= _FLAT_LOSS:
        return None
    evidence = f"the gradient is {gradient:.2g} and the loss stays at {curves.tail_loss:.4f}"
    what = "no answer is learned" if curves.supervised else "the pairs are identical, or their answers cut away"
    return Match("no-signal", evidence, f"{what}: run check, look at the context budget and the template")


def _too_small_steps(curves: _Curves) -> Match | None:
    still = abs(curves.tail_loss - curves.baseline) < _STILL_LOSS * curves.baseline
    if curves.supervised and still and len(curves.train) > len(_tail(curves.train)):
        evidence = f"the loss is still {curves.tail_loss:.4f}"
    elif still and curves.kl is not None and curves.kl < _STILL_KL:
        evidence = f"the loss is still {curves.tail_loss:.4f} and KL is {curves.kl:.2g}"
    else:
        return None
    return Match("too-small-steps", evidence, "raise the learning rate 3 to 10 times, or shorten the warm-up")


def _swapped_eval(curves: _Curves) -> Match | None:
    loss, accuracy = curves.eval_loss, curves.accuracy
    if curves.method.rpo_alpha or loss is None or accuracy is None:
        return None
    if loss <= curves.baseline or accuracy >= _SWAPPED_ACCURACY:
        return None
    evidence = f"evaluation loss {loss:.3f} is above {curves.baseline:.3f} and accuracy is {accuracy:.2f}"
    return Match("swapped-eval", evidence, "chosen and rejected are swapped in one of the two files: swap them")


def _ties(curves: _Curves) -> Match | None:
    loss, accuracy = curves.eval_loss, curves.accuracy
    if loss is None or accuracy is None or loss >= _TIED_LOSS * curves.baseline or accuracy >= _TIED_ACCURACY:
        return None
    evidence = f"evaluation loss fell to {loss:.3f} while accuracy is {accuracy:.2f}"
    return Match("ties", evidence, "many pairs are tied or duplicated (a tie is a miss): drop them")


def _over_optimised(curves: _Curves) -> Match | None:
    losses = [row.loss for row in curves.evals if row.loss is not None]
    if curves.method.rpo_alpha or not losses:
        return None
    best, last = min(losses), losses[-1]
    if last <= _OVERFIT_EVAL * best or curves.tail_loss >= _OVERFIT_TRAIN * best:
        return None
    at = next(row.step for row in curves.evals if row.loss == best)
    evidence = (
        f"evaluation loss rose from {best:.3f} (step {at}) to {last:.3f} while training loss is {curves.tail_loss:.3f}"
    )
    milder = "more data" if curves.supervised else "a higher dpo_beta"
    return Match("over-optimised", evidence, f"take the checkpoint of the best evaluation; fewer epochs, or {milder}")


def _label_noise(curves: _Curves) -> Match | None:
    loss, accuracy = curves.eval_loss, curves.accuracy
    if curves.method.rpo_alpha or loss is None or accuracy is None:
        return None
    if loss <= _NOISE_LOSS * curves.baseline or abs(accuracy - 0.5) >= _NOISE_ACCURACY:
        return None
    evidence = f"evaluation loss is {loss:.3f} and accuracy {accuracy:.2f}, as with coin flips"
    return Match("label-noise", evidence, "look at the labels, and whether both files come from one distribution")


def _beta_scale(curves: _Curves) -> Match | None:
    loss, accuracy = curves.eval_loss, curves.accuracy
    if not curves.method.is_normalized or loss is None or accuracy is None or curves.kl is None:
        return None
    near = abs(loss - curves.baseline) < _SCALE_LOSS * curves.baseline
    if not near or accuracy <= _SCALE_ACCURACY or curves.kl <= _SCALE_KL:
        return None
    evidence = f"accuracy is {accuracy:.2f} and KL {curves.kl:.0f}, yet the loss is still {loss:.3f}"
    return Match("beta-scale", evidence, "dpo_beta (or gamma / beta) is out of scale: beta 2 to 10, or a lower rate")


def _drift(curves: _Curves) -> Match | None:
    if curves.kl is None or curves.kl <= _DRIFT_KL:
        return None
    return Match("drift", f"KL is {curves.kl:.0f}", "the policy moves too far: a lower rate, or a higher dpo_beta")


def _displacement(curves: _Curves) -> Match | None:
    chosen, rejected = curves.fall_chosen, curves.fall_rejected
    if chosen is None or rejected is None or chosen >= _DISPLACED or rejected >= 0:
        return None
    if chosen / rejected <= _DISPLACED_SHARE:
        return None
    evidence = (
        f"log-probabilities fell by {-chosen:.1f} nats on the chosen side and by {-rejected:.1f} on the rejected one"
    )
    advice = "likelihood displacement: rpo_alpha 0.1 to 1, a higher dpo_beta, no near-identical pairs, SFT first"
    return Match("displacement", evidence, advice)


RULES: tuple[Callable[[_Curves], Match | None], ...] = (
    _no_signal, _too_small_steps, _swapped_eval, _ties, _over_optimised, _label_noise, _beta_scale, _drift,
    _displacement,
)  # fmt: skip


def _describe(curves: _Curves) -> str:
    """Return what each curve did, in words, with its numbers."""
    split = "evaluation" if curves.evals else "training"
    rows = curves.evals or curves.train
    begin = "the first row" if curves.supervised or curves.method.rpo_alpha else "nothing learned"
    last = rows[-1].loss if curves.evals else curves.tail_loss
    parts = [f"On {split} rows, loss went from {curves.baseline:.3f} ({begin}) to {last:.3f}"]
    if curves.accuracy is not None:
        parts.append(f"reward accuracy is {curves.accuracy:.0%}")
    if curves.kl is not None:
        parts.append(f"KL reached {curves.kl:.1f}")
    if curves.fall_chosen is not None and curves.fall_rejected is not None:
        parts.append(f"chosen log-probability {_moved(curves.fall_chosen)}, rejected {_moved(curves.fall_rejected)}")
    sentence = ", ".join(parts) + "."
    return sentence + (_REASSURANCE if _falls_harmlessly(curves) else "")


def _falls_harmlessly(curves: _Curves) -> bool:
    chosen, rejected = curves.fall_chosen, curves.fall_rejected
    return chosen is not None and rejected is not None and rejected < chosen < 0 and _displacement(curves) is None


def _moved(change: float) -> str:
    return f"{'rose' if change >= 0 else 'fell'} by {abs(change):.1f} nats"


def _tail(rows: list[MetricRow]) -> list[MetricRow]:
    return rows[-max(_TAIL_ROWS, math.ceil(_TAIL_SHARE * len(rows))) :]


def _end(rows: list[MetricRow], name: str) -> float | None:
    """Return the last evaluation's value, or the mean of the last training rows."""
    values = [value for row in rows if (value := getattr(row, name)) is not None]
    if not values:
        return None
    return float(values[-1] if rows[-1].split == "eval" else fmean(values[-_window(values) :]))


def _change(train: list[MetricRow], telling: list[MetricRow], name: str) -> float | None:
    """Return the change of a per-side log-probability since its first value, on rows of one split."""
    values = [value for row in telling if (value := getattr(row, name)) is not None]
    if len(values) < 2:  # noqa: PLR2004 - a change needs two
        return None
    if telling is train:
        return fmean(values[-_window(values) :]) - fmean(values[: _window(values)])
    return float(values[-1] - values[0])


def _window(values: list[float]) -> int:
    """Return how many values an end of a curve is smoothed over: the two ends of a short one do not overlap."""
    return max(1, min(_TAIL_ROWS, len(values) // 2))


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
