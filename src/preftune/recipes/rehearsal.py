"""What a rehearsal found: who learns the preference, which pairs stand out, what the knobs would change."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from html import escape
from itertools import accumulate
from math import sqrt
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from preftune.api.models import MetricRow
from preftune.charts import draw_svg
from preftune.losses import DPO, Sensitivity, k2, preference_loss, sensitivity
from preftune.pairs.finding import plural
from preftune.pairs.pair import PreferencePair, message_text
from preftune.recipes.shortcuts import Numbers, accuracy
from preftune.runs import panels

_WIDTH = 79
_SHOWN, _KEPT = 3, 10  # pairs that stand out: in the text, in plain values
_EXCERPT = 64  # columns
_SURE = 2.0  # standard errors that make a difference
_CHANCE = 0.5


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


@dataclass(frozen=True)
class Judge:
    """Who told chosen from rejected on pairs not seen before, and how often rightly."""

    name: str
    accuracy: float
    pairs: int

    @property
    def error(self) -> float:
        """Return the standard error of the accuracy."""
        return sqrt(max(self.accuracy * (1 - self.accuracy), 1 / self.pairs / 4) / self.pairs)

    @property
    def better_than_chance(self) -> bool:
        """Tell whether luck does not explain it."""
        return self.accuracy > _CHANCE + _SURE * _CHANCE / sqrt(self.pairs)

    def __str__(self) -> str:
        return f"  {self.name:<63}{self.accuracy:>7.1%}  ±{self.error * 100:.1f}"


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What was found; every number is about n pairs, each judged by models that saw neither it nor its prompt."""

    name: str
    total: int  # pairs that there are
    dropped: Mapping[str, int]  # why rows made no pair, and how many
    method: DPO
    folds: int  # 0 where the caller's own models judged
    cases: tuple[Case, ...]  # (n,)
    logps: Mapping[str, Numbers]  # each (n,), by the names of `preference_loss`'s arguments, for `losses.sensitivity`
    by_length: Numbers  # (n,) margin by length alone
    by_words: Numbers  # (n,) margin by a bag of words
    fitted: Numbers | None  # (n,) margin in nats by models trained on the pair itself
    bits: float | None  # bits a byte that the engine needs for a chosen answer before preference tuning
    rows: tuple[MetricRow, ...]  # of the first fold's preference tuning
    seconds: float

    @cached_property
    def margins(self) -> Numbers:
        """Return chosen less rejected reward of every pair, (n,); without a reference, log-probability per token."""
        per_token = DPO(dpo_beta=1, dpo_normalize_logratios_by_length=True, dpo_reference_free=True)
        method = self.method if self._has_rewards else per_token
        loss = preference_loss(**dict[str, Any](self.logps), method=method)
        return np.asarray(loss.rewards_chosen - loss.rewards_rejected)

    @cached_property
    def judges(self) -> tuple[Judge, ...]:
        """Return who told the sides apart, and how well."""
        longer = self.logps["chosen_lengths"] - self.logps["rejected_lengths"]
        habit = "longer" if np.sum(np.sign(self.by_length) * longer) >= 0 else "shorter"
        found = {f"length alone (the {habit} answer)": self.by_length, "a bag of words alone": self.by_words}
        who = "the engine tuned on chosen answers" if self.folds else "your model"
        policy = "reference" if self.folds else "policy"
        chosen, rejected = (self.logps[f"{policy}_{side}_logps"] for side in ("chosen", "rejected"))
        found[f"log-probability of {who}"] = chosen - rejected
        found[f"log-probability per token of {who}"] = (
            chosen / self.logps["chosen_lengths"] - rejected / self.logps["rejected_lengths"]
        )
        if self._has_rewards:
            found[f"reward of {'the engine after preference tuning' if self.folds else 'your model'}"] = self.margins
        return tuple(Judge(name, accuracy(margins), len(self.cases)) for name, margins in found.items())

    @cached_property
    def hardest(self) -> tuple[tuple[Case, float], ...]:
        """Return the pairs that were trained on and yet moved the wrong way, with how far in nats, the worst first."""
        if self.fitted is None:
            return ()
        order = np.argsort(self.fitted, kind="stable")
        return tuple((self.cases[at], float(self.fitted[at])) for at in order[:_KEPT] if self.fitted[at] < 0)

    @cached_property
    def suspicious(self) -> tuple[tuple[Case, float], ...]:
        """Return the pairs whose label both the model and the bag of words speak against, the loudest first.

        The number is the mean of both margins in units of their own root mean square. Where one of the two does no
        better than a coin, nothing is suspicious.
        """
        words, model = self.judges[1], self.judges[-1]  # the last judges by the margins
        if not (words.better_than_chance and model.better_than_chance):
            return ()
        scaled = [values / max(float(np.sqrt(np.mean(values**2))), 1e-12) for values in (self.margins, self.by_words)]
        both = np.where((scaled[0] < 0) & (scaled[1] < 0), (scaled[0] + scaled[1]) / 2, 0.0)
        return tuple(
            (self.cases[at], float(both[at])) for at in np.argsort(both, kind="stable")[:_KEPT] if both[at] < 0
        )

    @cached_property
    def knobs(self) -> Sensitivity | None:
        """Return what other values of beta would make of the log-probabilities that the rehearsal ended with."""
        return sensitivity(self.logps, method=self.method) if self._has_rewards else None

    @property
    def _has_rewards(self) -> bool:
        return self.method.is_reference_free or "reference_chosen_logps" in self.logps

    def to_dict(self) -> dict[str, Any]:
        """Return the rehearsal as plain values; pairs that stand out are the first ten of each kind."""
        return {
            "name": self.name,
            "pairs": len(self.cases),
            "total": self.total,
            "dropped": dict(self.dropped),
            "method": self.method.model_dump(),
            "folds": self.folds,
            "judges": [asdict(judge) | {"error": judge.error} for judge in self.judges],
            "margins": dict(zip(("p10", "median", "p90"), np.quantile(self.margins, _TAILS).tolist(), strict=True)),
            "hardest": [asdict(case) | {"margin": margin} for case, margin in self.hardest],
            "suspicious": [asdict(case) | {"score": score} for case, score in self.suspicious],
            "knobs": None if self.knobs is None else self.knobs.to_dict(),
            "bits_per_byte": self.bits,
            "seconds": round(self.seconds, 2),
        }

    def __str__(self) -> str:
        return "\n\n".join("\n".join(part) for part in self._parts() if part)

    def _repr_html_(self) -> str:
        pictures = [draw_svg(panel) for panel in panels(self.rows) if panel.title in _PICTURES] if self.rows else []
        return f"<div>{''.join(pictures)}</div><pre>{escape(str(self))}</pre>"

    def _parts(self) -> Iterator[list[str]]:
        yield self._head()
        yield [f"Who tells chosen from rejected (a coin: {_CHANCE:.1%}; ± one standard error)", *map(str, self.judges)]
        yield [line for sentence in self._reading() for line in _wrapped(sentence)]
        yield self._course()
        yield _standing_out("Trained on, and yet moved the wrong way: the hardest", "{:+.2f} nats", self.hardest)
        title = "Model and words both speak against the label: suspicious (1 is a usual margin)"
        yield _standing_out(title, "{:+.1f}", self.suspicious)
        if self.knobs is not None:
            yield ["What other values of beta would make of these log-probabilities, held fixed", str(self.knobs)]
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
        return [line for sentence in told for line in _wrapped(sentence)]

    def _reading(self) -> Iterator[str]:
        length, words, *models = self.judges
        best, shortcut = (max(some, key=lambda judge: judge.accuracy) for some in (models, (length, words)))
        noise = f"with {plural(len(self.cases), 'pair')}, differences below {200 * best.error:.1f} points are noise"
        if not best.better_than_chance and not shortcut.better_than_chance:
            blind = "a model as small" if self.folds else "your model"
            yield (
                f"Nothing that was tried beats a coin ({noise}). Either the sides differ in what {blind} does not see, "
                "such as meaning or facts, or the labels are noise: judge some pairs yourself, the labels hidden."
            )
        elif shortcut.accuracy >= best.accuracy - best.error:
            yield (
                f"{_capital(shortcut.name)} does as well as the model ({noise}): on the surface, that is what these "
                "pairs teach. If it is what you want to teach, good; if not, pair answers that are alike in it."
            )
        else:
            yield f"{_capital(best.name)} tells more than length and words do ({noise})."
        if length.better_than_chance:
            yield (
                f"Length alone gets {length.accuracy:.0%} right. A tuned model learns such a habit first: compare the "
                "lengths of its answers before and after, or normalise by length."
            )
        if self.suspicious:
            yield (
                "Model and words both speak against the label of the pairs below. A few wrong labels in a hundred are "
                f"common; to read {plural(len(self.suspicious), 'pair')} costs less than a job."
            )

    def _course(self) -> list[str]:
        low, middle, high = np.quantile(self.margins, _TAILS)
        of, unit = " of unseen pairs" if self.folds else "", "rewards" if self._has_rewards else "nats per token"
        lines = _wrapped(f"Margins{of}, {unit}: 10 % {low:+.2f}, median {middle:+.2f}, 90 % {high:+.2f}")
        seen = [row for row in self.rows if row.split == "eval" and row.loss is not None]
        if seen:
            path = " ".join(f"{row.loss:.3f}" for row in seen)
            nothing = f"{self.method.baseline:.3f}" + (", plus the likelihood term" if self.method.rpo_alpha else "")
            lines += _wrapped(f"Loss on unseen pairs while the first fold learned (nothing learned: {nothing}): {path}")
            sides = [(self.logps[f"policy_{side}_logps"], self.logps[f"reference_{side}_logps"]) for side in _SIDES]
            drift = [float(np.mean(k2(*side))) for side in sides]
            lines.append(f"Approximate KL to the start: chosen {drift[0]:.1f}, rejected {drift[1]:.1f}")
        return lines


_SIDES = ("chosen", "rejected")
_TAILS = (0.1, 0.5, 0.9)
_PICTURES = ("loss", "reward accuracy")
_ENGINE = (
    "The engine is a small byte-level model: it needs {bits:.1f} bits for each byte of a chosen answer that is new to "
    "it (8 is knowing nothing). It learns spelling, words and style, not meaning, facts or reasoning. A preference "
    "that it learns, a large model most likely learns too; one it does not, a large one may. Its rates are scaled, "
    "so steps, KL and the size of margins do not carry over: read the order of the pairs and what beats the shortcuts."
)
_OWN_MODEL = (
    "What training would do: your model was asked once, and only length and words were fitted to the pairs. A pair "
    "that it already ranks rightly teaches little; one that it ranks wrongly and surely is either what you want to "
    "change or a wrong label."
)


def _standing_out(title: str, form: str, found: tuple[tuple[Case, float], ...]) -> list[str]:
    lines = [title] if found else []
    for case, number in found[:_SHOWN]:
        lines.append(f"  {case.place}  {form.format(number)}")
        lines += [f"    {name:<9} {text}" for name, text in (("asked", case.prompt), ("chosen", case.chosen))]
        lines.append(f"    {'rejected':<9} {case.rejected}")
    return lines


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _excerpt(text: str) -> str:
    """Return how a text begins, on one line, without what a terminal would obey."""
    text = "".join(char if char.isprintable() else " " for char in " ".join(text.split())[: _EXCERPT + 1])
    ends = list(accumulate(2 if east_asian_width(char) in "WF" else 1 for char in text))
    if not ends or ends[-1] <= _EXCERPT:
        return text
    return "".join(char for char, end in zip(text, ends, strict=True) if end < _EXCERPT) + "…"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH)
