"""What a rehearsal found: who learns the preference, which pairs stand out, what the knobs would change."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from itertools import accumulate
from math import isfinite, sqrt
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from preftune.api.models import MetricRow
from preftune.charts import draw_svg
from preftune.losses import DPO, Sensitivity, k2, preference_loss, sensitivity
from preftune.pairs.finding import plural
from preftune.pairs.pair import PreferencePair, message_text
from preftune.recipes.shortcuts import Numbers, right
from preftune.runs import panels

_WIDTH = 79
_SHOWN = 3  # pairs of each kind that stand out, in the text
_EXCERPT = 64  # columns
_SURE = 2.0  # standard errors that make a difference
_CHANCE = 0.5
_CLEARLY = 0.1  # of the usual move
_RISEN = 1.02  # of the lowest loss


@dataclass(frozen=True)
class Case:
    """One pair, by its place and how its texts begin."""

    place: str  # "pairs.jsonl:12"
    prompt: str
    chosen: str
    rejected: str

    @classmethod
    def of(cls, place: str, pair: PreferencePair) -> Case:
        """Return the pair's case."""
        asked = message_text(pair.prompt[-1]) if pair.prompt else ""
        return cls(place, *map(_excerpt, (asked, pair.chosen_text, pair.rejected_text)))


@dataclass(frozen=True, eq=False)
class Judge:
    """Who told chosen from rejected, and on which of the n pairs rightly."""

    name: str
    right: Numbers  # (n,) 1 right, 0 wrong, 1/2 where it said nothing

    @property
    def accuracy(self) -> float:
        """Return the share of pairs that it got right."""
        return float(self.right.mean())

    @property
    def error(self) -> float:
        """Return the standard error of the accuracy."""
        pairs = self.right.size
        return sqrt(max(self.accuracy * (1 - self.accuracy), 1 / pairs / 4) / pairs)

    @property
    def better_than_chance(self) -> bool:
        """Tell whether luck does not explain it."""
        return self.accuracy > _CHANCE + _SURE * _CHANCE / sqrt(self.right.size)

    def beats(self, other: Judge) -> bool:
        """Tell whether luck does not explain that it got more pairs right. Source: the sign test, McNemar 1947."""
        differences = self.right - other.right
        return float(differences.sum()) > _SURE * sqrt(float((differences**2).sum()))

    def __str__(self) -> str:
        return f"  {self.name:<63}{self.accuracy:>7.1%}  ±{self.error * 100:.1f}"


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What was found of n pairs. Unseen means: by models that saw neither the pair nor its prompt."""

    name: str
    total: int  # pairs that there are
    dropped: Mapping[str, int]  # why rows made no pair, and how many
    cut: int  # pairs of which the budget cut an answer
    method: DPO
    folds: int  # 0 where the caller's own models judged
    cases: tuple[Case, ...]  # (n,)
    logps: Mapping[str, Numbers]  # of unseen pairs, each (n,), by the names of `preference_loss`'s arguments
    longer: bool  # whether the longer answer is right more often than the shorter
    by_length: Numbers  # (n,) margin by that alone
    by_words: Numbers  # (n,) margin by a bag of words, unseen
    seconds: float
    trained: Mapping[str, Numbers] | None = None  # as `logps`, by the mean of the models that were tuned on the pair
    bits: float | None = None  # bits a byte of an unseen chosen answer, before preference tuning
    course: tuple[float, ...] = ()  # loss on unseen pairs while the engines learned, mean over folds
    rows: tuple[MetricRow, ...] = ()  # of the first fold's preference tuning

    @cached_property
    def margins(self) -> Numbers:
        """Return chosen less rejected reward of every pair, (n,); without a reference, log-probability per token."""
        per_token = DPO(dpo_beta=1, dpo_normalize_logratios_by_length=True, dpo_reference_free=True)
        method = self.method if self._has_rewards else per_token
        with np.errstate(all="ignore"):  # of a run that diverged
            loss = preference_loss(**dict[str, Any](self.logps), method=method)
            return np.asarray(loss.rewards_chosen - loss.rewards_rejected)

    @property
    def diverged(self) -> bool:
        """Tell whether a margin is no finite number: nothing else that is computed means anything then."""
        return not bool(np.isfinite(self.margins).all())

    @cached_property
    def judges(self) -> tuple[Judge, ...]:
        """Return who told the sides apart, and how well; nobody where the run diverged."""
        if self.diverged:
            return ()
        who = "the engine tuned on chosen answers" if self.folds else "your model"
        policy = "reference" if self.folds else "policy"
        chosen, rejected = (self.logps[f"{policy}_{side}_logps"] for side in _SIDES)
        found = {
            f"length alone ({'longer' if self.longer else 'shorter'} is better, says this set itself)": self.by_length,
            "a bag of words alone": self.by_words,
            f"log-probability of {who}": chosen - rejected,
            f"log-probability per token of {who}": chosen / self.logps["chosen_lengths"]
            - rejected / self.logps["rejected_lengths"],
        }
        if self._has_rewards:
            found[f"reward of {'the engine after preference tuning' if self.folds else 'your model'}"] = self.margins
        return tuple(Judge(name, right(margins)) for name, margins in found.items())

    @cached_property
    def hardest(self) -> tuple[tuple[Case, float], ...]:
        """Return the pairs that training on them moved clearly the wrong way, with how far in nats, the worst first.

        Clearly: by more than a tenth of the root mean square of all pairs' moves.
        """
        if self.trained is None or self.diverged:
            return ()
        sides = [self.trained[f"policy_{side}_logps"] - self.trained[f"reference_{side}_logps"] for side in _SIDES]
        gained = sides[0] - sides[1]
        worst = np.argsort(gained, kind="stable")
        return tuple((self.cases[at], float(gained[at])) for at in worst if gained[at] < -_CLEARLY * _size(gained))

    @cached_property
    def suspicious(self) -> tuple[tuple[Case, float], ...]:
        """Return the pairs whose label both the model and the bag of words speak against, the loudest first.

        The number is the mean of both margins in units of their own root mean square. Where one of the two does no
        better than a coin, nothing is suspicious.
        """
        if not self.judges or not (self.judges[1].better_than_chance and self.judges[-1].better_than_chance):
            return ()
        scaled = [values / max(_size(values), 1e-12) for values in (self.margins, self.by_words)]
        both = np.where((scaled[0] < 0) & (scaled[1] < 0), (scaled[0] + scaled[1]) / 2, 0.0)
        worst = np.argsort(both, kind="stable")
        return tuple((self.cases[at], float(both[at])) for at in worst if both[at] < 0)

    @cached_property
    def knobs(self) -> Sensitivity | None:
        """Return what other values of beta would make of the pairs that were trained on, as training left them.

        Without training, of the pairs as a caller's models have them.
        """
        logps = self.logps if self.trained is None else self.trained
        return sensitivity(logps, method=self.method) if self._has_rewards and not self.diverged else None

    @property
    def _has_rewards(self) -> bool:
        return self.method.is_reference_free or "reference_chosen_logps" in self.logps

    def to_dict(self) -> dict[str, Any]:
        """Return the rehearsal as plain values, with all pairs that stand out; what is no finite number is None."""
        tails = None if self.diverged else np.quantile(self.margins, _TAILS).tolist()
        return {
            "name": self.name,
            "pairs": len(self.cases),
            "total": self.total,
            "dropped": dict(self.dropped),
            "cut": self.cut,
            "method": self.method.model_dump(),
            "folds": self.folds,
            "diverged": self.diverged,
            "judges": [
                {"name": judge.name, "accuracy": judge.accuracy, "error": judge.error, "pairs": len(self.cases)}
                for judge in self.judges
            ],
            "margins": tails and dict(zip(("p10", "median", "p90"), tails, strict=True)),
            "course": [loss if isfinite(loss) else None for loss in self.course],
            "hardest": [asdict(case) | {"margin": margin} for case, margin in self.hardest],
            "suspicious": [asdict(case) | {"score": score} for case, score in self.suspicious],
            "knobs": None if self.knobs is None else self.knobs.to_dict(),
            "bits_per_byte": self.bits if self.bits is not None and isfinite(self.bits) else None,
            "seconds": round(self.seconds, 2),
        }

    def __str__(self) -> str:
        return "\n\n".join("\n".join(part) for part in self._parts() if part)

    def _repr_html_(self) -> str:
        pictures = [draw_svg(panel) for panel in panels(self.rows) if panel.title in _PICTURES] if self.rows else []
        return f"<div>{''.join(pictures)}</div><pre>{escape(str(self))}</pre>"

    def _parts(self) -> Iterator[list[str]]:
        yield self._head()
        if self.diverged:
            lost = int(np.sum(~np.isfinite(self.margins)))
            yield _wrapped(
                f"The run diverged: {lost:,} of {len(self.cases):,} margins are no finite numbers. Lower the rate, or "
                "the knob that is out of scale."
            )
            return
        yield [f"Who tells chosen from rejected (a coin: {_CHANCE:.1%}; ± one standard error)", *map(str, self.judges)]
        yield [line for sentence in self._reading() for line in _wrapped(sentence)]
        yield self._course()
        yield _standing_out("Trained on, and yet moved the wrong way: the hardest", "{:+.2f} nats", self.hardest)
        title = "Model and words both speak against the label: suspicious (1 is a usual margin)"
        yield _standing_out(title, "{:+.1f}", self.suspicious)
        if self.knobs is not None:
            left = "the pairs as training left them" if self.folds else "these log-probabilities"
            yield [f"What other values of beta would make of {left}", str(self.knobs)]
        yield ["What this cannot tell", *_wrapped(_ENGINE.format(bits=self.bits) if self.folds else _OWN_MODEL)]

    def _head(self) -> list[str]:
        share = plural(len(self.cases), "pair") + (f" of {self.total:,}" if len(self.cases) < self.total else "")
        how = (
            f"each judged by models that saw neither it nor its prompt ({self.folds} folds)"
            if self.folds
            else "judged by your model; nothing was trained"
        )
        told = [f"{self.name}: {share} in {self.seconds:.1f} s, {how}. Method: {self.method.label}."]
        if self.dropped:
            told += ["Left out: " + ", ".join(f"{count:,} ({why})" for why, count in self.dropped.items()) + "."]
        if self.cut:
            told += [f"The budget cut an answer of {plural(self.cut, 'pair')} short."]
        return [line for sentence in told for line in _wrapped(sentence)]

    def _reading(self) -> Iterator[str]:
        length, words, *models = self.judges
        best, shortcut = (max(some, key=lambda judge: judge.accuracy) for some in (models, (length, words)))
        surface = "length" if shortcut is length else "vocabulary and style"
        alone = [int(np.sum(one.right > other.right)) for one, other in ((best, shortcut), (shortcut, best))]
        count = f"alone right on {plural(alone[0], 'pair')}, against {alone[1]:,}"
        if not best.better_than_chance and not shortcut.better_than_chance:
            blind = "a model this small" if self.folds else "your model"
            yield (
                f"With {plural(len(self.cases), 'pair')}, nothing that was tried beats a coin. Either the sides differ "
                f"in what {blind} does not see, such as meaning or facts, or the labels are noise: judge some pairs "
                "yourself, the labels hidden."
            )
        elif best.beats(shortcut):
            yield f"The {_short(best)} tells more than {_short(shortcut)} does: {count}."
        elif shortcut.beats(best):
            yield (
                f"No model here tells as much as {_short(shortcut)} does (the best one: {count}). On the surface these "
                f"pairs teach {surface}: if that is not what you want to teach, pair answers that are equal in it."
            )
        else:
            yield (
                f"The {_short(best)} and {_short(shortcut)} cannot be told apart on so many pairs ({count}): what is "
                f"learned here may be no more than {surface}."
            )
        if length.better_than_chance:
            yield (
                f"By length alone {length.accuracy:.0%} are right, which is easy to learn: compare answers' lengths "
                "before and after tuning, or normalise by length."
            )
        if self.suspicious:
            yield (
                f"{plural(len(self.suspicious), 'pair')} with a label that model and words both speak against "
                f"{'is' if len(self.suspicious) == 1 else 'are'} worth a look before a job is paid for."
            )

    def _course(self) -> list[str]:
        low, middle, high = np.quantile(self.margins, _TAILS)
        of, unit = " of unseen pairs" if self.folds else "", "rewards" if self._has_rewards else "nats per token"
        lines = _wrapped(f"Margins{of}, {unit}: 10 % {low:+.2f}, median {middle:+.2f}, 90 % {high:+.2f}")
        if self.course:
            path = " ".join(f"{loss:.3f}" for loss in self.course)
            # without a reference a run does not begin at zero margin, nor with a likelihood term at the baseline
            known = not self.method.is_reference_free and not self.method.rpo_alpha
            nothing = f" (nothing learned: {self.method.baseline:.3f})" if known else ""
            lines += _wrapped(f"Loss on unseen pairs while the engines learned{nothing}: {path}")
            if known and self.course[-1] > self.method.baseline:
                lines += _wrapped(
                    "It ends above that of nothing learned: what is learned does not carry over. Fewer epochs, a lower "
                    "rate, a higher beta, or more pairs."
                )
            elif self.course[-1] > _RISEN * min(self.course):
                lines += _wrapped("It has risen again: fewer epochs, or the checkpoint of the best evaluation.")
            sides = [(self.logps[f"policy_{side}_logps"], self.logps[f"reference_{side}_logps"]) for side in _SIDES]
            drift = [float(np.mean(k2(*side))) for side in sides]
            lines.append(f"Approximate KL to the start: chosen {drift[0]:.1f}, rejected {drift[1]:.1f}")
        return lines


_SIDES = ("chosen", "rejected")
_TAILS = (0.1, 0.5, 0.9)
_PICTURES = ("loss", "reward accuracy")
_ENGINE = (
    "The engine is a small byte-level model: it needs {bits:.1f} bits for each byte of a chosen answer that is new to "
    "it (8 is knowing nothing). It learns spelling, words and style, not meaning, facts or reasoning: that it learns a "
    "preference shows how little is needed for it; that it does not shows nothing about a large model. Its rates are "
    "scaled, so steps, KL and the size of margins do not carry over."
)
_OWN_MODEL = (
    "What training would do: your model was asked once, and only length and words were fitted to the pairs. A pair "
    "that it already ranks rightly teaches little; one that it ranks wrongly and surely is either what you want to "
    "change or a wrong label."
)


def _standing_out(title: str, form: str, found: tuple[tuple[Case, float], ...]) -> list[str]:
    lines = [title] if found else []
    if len(found) > _SHOWN:
        lines.append(f"  (the first {_SHOWN} of {len(found)}; to_dict() and --json have all)")
    for case, number in found[:_SHOWN]:
        lines.append(f"  {case.place}  {form.format(number)}")
        lines += [f"    {name:<9} {text}" for name, text in (("asked", case.prompt), ("chosen", case.chosen))]
        lines.append(f"    {'rejected':<9} {case.rejected}")
    return lines


def _short(judge: Judge) -> str:
    return judge.name.partition(" (")[0]


def _size(values: Numbers) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


def _excerpt(text: str) -> str:
    """Return how a text begins, on one line, without what a terminal would obey."""
    text = "".join(char if char.isprintable() else " " for char in " ".join(text.split())[: _EXCERPT + 1])
    ends = list(accumulate(2 if east_asian_width(char) in "WF" else 1 for char in text))
    if not ends or ends[-1] <= _EXCERPT:
        return text
    return "".join(char for char, end in zip(text, ends, strict=True) if end < _EXCERPT) + "…"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)
