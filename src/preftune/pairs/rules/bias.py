"""Rules on the set as a whole: what tells the chosen answers from the rejected ones without reading them.

A reward model, and so DPO, learns the cheapest difference there is. Sources: Singhal et al. 2023 (arXiv 2310.03716,
length), Zhang et al. 2024 (arXiv 2409.11704, format: under one per cent of biased pairs is enough).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from preftune.pairs.finding import Problem
from preftune.pairs.pair import shared_prefix
from preftune.pairs.rules.style import FEATURES

if TYPE_CHECKING:
    from preftune.pairs.survey import Survey

Array: TypeAlias = np.ndarray[Any, Any]

OFF_BALANCE, BEYOND_CHANCE = 0.10, 3.0  # from one half; standard errors
OVERWHELMING = 0.80
GUESSABLE = 0.70  # accuracy of the probe
ECHOED = 0.5  # of the rows
SIDE_LENGTH, SIDE_SHARE, OTHER_SHARE = 12, 0.95, 0.50  # characters; of one side's answers; of the other's
CUT_OFF = 0.10  # difference of shares
_FOLDS, _STEPS, _RIDGE = 5, 20, 1.0  # of the probe


def whole_set(survey: Survey) -> Iterator[Problem]:
    """Yield what all these rules find in a survey of enough pairs."""
    for rule in (length_bias, format_bias, shortcut, side_constant, cut_off, echo):
        yield from rule(survey)


def length_bias(survey: Survey) -> Iterator[Problem]:
    """Find sets where the chosen answer is the longer one, or the shorter one, far more often than not."""
    share, z = balance(survey.chosen_characters - survey.rejected_characters)
    if not is_off_balance(share, z):
        return
    longer = share > 0.5  # noqa: PLR2004 - one half
    way, part = ("longer", share) if longer else ("shorter", 1 - share)
    strength = "nearly always: the label is its length" if part > OVERWHELMING else "far more often than not"
    area = area_under_curve(survey.chosen_characters, survey.rejected_characters)
    message = (
        f"the chosen answer is the {way} one in {part:.1%} of pairs, {strength} "
        f"(z = {z:+.1f}; length alone tells the sides apart with an AUC of {max(area, 1 - area):.2f})"
    )
    missing = "shorter" if longer else "longer"
    hint = f"add pairs where the {missing} answer is chosen, or set dpo_normalize_logratios_by_length"
    yield Problem("length-bias", "warning", "", message, hint)


def format_bias(survey: Survey) -> Iterator[Problem]:
    """Find a feature of form that goes with one side: of the pairs where one answer has it, mostly the same one."""
    for index, name in enumerate(FEATURES):
        chosen, rejected = survey.features[:, 0, index], survey.features[:, 1, index]
        share, z = balance(chosen.astype(int) - rejected)
        if is_off_balance(share, z):
            side, part = ("chosen", share) if share > 0.5 else ("rejected", 1 - share)  # noqa: PLR2004 - one half
            message = (
                f"where one answer has {name}, it is the {side} one in {part:.0%} "
                f"({chosen.mean():.0%} of chosen, {rejected.mean():.0%} of rejected answers; z = {z:+.1f})"
            )
            hint = "right if that form is what you teach; else balance it, for the model will learn it first"
            yield Problem("format-bias", "warning", name, message, hint)


def shortcut(survey: Survey) -> Iterator[Problem]:
    """Find sets whose labels a logistic probe guesses from length and form alone."""
    accuracy = probe_accuracy(_cheap(survey))
    if accuracy > GUESSABLE:
        message = f"length and form alone guess the chosen answer in {accuracy:.0%} of held-out pairs"
        hint = "the model can win without reading the answers; balance what the two sides look like"
        yield Problem("shortcut", "warning", "", message, hint)


def side_constant(survey: Survey) -> Iterator[Problem]:
    """Find a text that begins or ends nearly all answers of one side and few of the other."""
    for place, texts in (("begins", survey.heads), ("ends", survey.tails)):
        for side, other in ((0, 1), (1, 0)):
            own = sorted(texts[side])
            constant = _shared_prefix(own)
            if constant and _share(texts[other], constant) < OTHER_SHARE:
                name = ("chosen", "rejected")[side]
                part = _share(own, constant)
                message = f"the same {len(constant)} characters or more {place[:-1]} {part:.0%} of the {name} answers"
                hint = "cut them off, or give them to both sides: they give the label away"
                yield Problem("side-constant", "warning", f"{name} {place}", message, hint)


def cut_off(survey: Survey) -> Iterator[Problem]:
    """Find sets where the answers of one side stop in mid-sentence more often than those of the other."""
    chosen, rejected = 1 - survey.closed.mean(axis=0)
    if abs(chosen - rejected) > CUT_OFF:
        message = f"{chosen:.0%} of chosen and {rejected:.0%} of rejected answers end without closing punctuation"
        hint = "look whether one side was cut at a token limit; the model would learn where answers stop"
        yield Problem("cut-off", "warning", "", message, hint)


def echo(survey: Survey) -> Iterator[Problem]:
    """Find sets whose answers begin with the text of the prompt."""
    part = float(survey.echoes.mean())
    if part > ECHOED:
        message = f"{part:.0%} of the pairs repeat the prompt at the start of an answer"
        hint = "split the prompt off the answers; it would be trained on as if it were one"
        yield Problem("echo", "warning", "", message, hint)


def balance(differences: Array) -> tuple[float, float]:
    """Return the share of positive differences, ties left out, and its distance from one half in standard errors."""
    above, below = int((differences > 0).sum()), int((differences < 0).sum())
    total = above + below
    return (above / total, (above - below) / sqrt(total)) if total else (0.5, 0.0)


def is_off_balance(share: float, z: float) -> bool:
    """Tell whether a share is far from one half, and not by chance."""
    return abs(share - 0.5) > OFF_BALANCE and abs(z) > BEYOND_CHANCE


def area_under_curve(higher: Array, lower: Array) -> float:
    """Return how often a number of the first kind is larger than one of the second, ties counted half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, side="left") + np.searchsorted(ordered, higher, side="right")
    return float(below.mean() / (2 * len(ordered)))


def probe_accuracy(differences: Array) -> float:
    """Return the held-out accuracy of a logistic probe on (n, features) differences, chosen minus rejected.

    The probe has no constant term, so it cannot know which side is which: it scores each answer, and a pair counts
    when the chosen answer scores higher, half when both score the same. Every fifth pair is held out in turn.
    """
    scale = np.sqrt((differences**2).mean(axis=0))
    scaled = differences[:, scale > 0] / scale[scale > 0]
    folds = np.arange(len(scaled)) % _FOLDS
    scores = np.zeros(len(scaled))
    for fold in range(_FOLDS):
        scores[folds == fold] = scaled[folds == fold] @ _logistic_weights(scaled[folds != fold])
    return float(((scores > 0) + 0.5 * (scores == 0)).mean())


def _logistic_weights(rows: Array) -> Array:
    """Return the weights under which rows score above zero, by Newton's method with a ridge."""
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(rows @ weights, -30, 30)))
        slope = rows.T @ wrong - _RIDGE * weights
        curve = (rows * (wrong * (1 - wrong))[:, None]).T @ rows + _RIDGE * np.eye(rows.shape[1])
        weights = weights + np.linalg.solve(curve, slope)
    return weights


def _cheap(survey: Survey) -> Array:
    """Return what the probe sees of each pair: the difference of log lengths and of each feature of form."""
    lengths = np.log1p(survey.chosen_characters) - np.log1p(survey.rejected_characters)
    forms = survey.features[:, 0].astype(float) - survey.features[:, 1]
    return np.column_stack([lengths, forms, survey.closed[:, 0].astype(float) - survey.closed[:, 1]])


def _shared_prefix(ordered: list[str]) -> str:
    """Return the longest prefix, of 12 characters or more, that 95 % of the sorted texts share; it may be empty."""
    wanted = ceil(SIDE_SHARE * len(ordered))
    windows = (shared_prefix(ordered[at], ordered[at + wanted - 1]) for at in range(len(ordered) - wanted + 1))
    longest = max(windows, key=len)
    return longest if len(longest) >= SIDE_LENGTH else ""


def _share(texts: list[str], prefix: str) -> float:
    return sum(text.startswith(prefix) for text in texts) / len(texts)
