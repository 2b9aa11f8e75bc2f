"""What to train with a file: supervised, supervised then DPO, or DPO on what there is, and what decides it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from preftune.pairs.finding import plural
from preftune.pairs.report import Report
from preftune.pairs.rules.line import ENOUGH

Method: TypeAlias = Literal["sft", "sft-then-dpo", "dpo"]
FEW_RANKED = 0.5  # share of pairs without a ranking from which there is little to prefer
_TITLES: dict[Method, str] = {
    "sft": "SFT: train on the answers you have",
    "sft-then-dpo": "SFT on the chosen answers, then DPO from its checkpoint",
    "dpo": "DPO on what you have",
}
# findings that name what sets the two sides apart
_FAILURES = ("length-bias", "format-bias", "shortcut", "side-constant", "cut-off")


@dataclass(frozen=True)
class Reason:
    """One thing that decides."""

    question: str
    answer: str
    rules: tuple[str, ...] = ()  # the findings that it rests on


@dataclass(frozen=True)
class Advice:
    """Which training a file calls for, with the reasons in the order in which they were asked."""

    method: Method
    reasons: tuple[Reason, ...]
    first: tuple[str, ...]  # rules of the errors to mend before anything is trained

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [_TITLES[self.method], ""]
        for reason in self.reasons:
            told = reason.answer + (f" [{', '.join(reason.rules)}]" if reason.rules else "")
            lines += [reason.question, *textwrap.wrap(told, 76, initial_indent="  ", subsequent_indent="  ")]
        if self.first:
            lines += ["", f"Mend these first: {', '.join(self.first)} (preftune check says where)."]
        return "\n".join(lines)


def advise(report: Report, *, works: bool | None = None) -> Advice:
    """Return which training the checked file calls for.

    `works` says whether the model to start from already answers such prompts acceptably; a file cannot tell. Source:
    DPO starts from a supervised model (arXiv 2305.18290 §4), and moves probability between answers that it can give.
    Raises DataError where no line reads as a pair or as a supervised row: there is nothing to advise on.
    """
    if not report.pairs and not _is_supervised(report):
        report.raise_for_errors()
    errors = tuple(dict.fromkeys(finding.rule for finding in report.findings if finding.severity == "error"))
    ranked = _ranked(report)
    if not _is_ranked(report):
        return Advice("sft", (ranked,), errors)
    method: Method = "dpo" if works else "sft-then-dpo"
    return Advice(method, (ranked, _model(works), _failure(report)), errors)


def _is_ranked(report: Report) -> bool:
    return report.pairs >= ENOUGH and _useless(report) < FEW_RANKED * report.pairs


def _is_supervised(report: Report) -> bool:
    return any(finding.rule == "mixed" and "supervised" in finding.message for finding in report.findings)


def _useless(report: Report) -> int:
    """Return about how many pairs rank nothing, nothing new, or against each other; one of two kinds counts twice."""
    turned = sum(finding.count for finding in report.findings if finding.rule == "contradiction")
    return min(report.pairs, report.stats.identical + report.stats.duplicates + 2 * turned)


def _ranked(report: Report) -> Reason:
    pairs, useless = report.pairs, _useless(report)
    question = "Is there something ranked, and enough of it?"
    rules = tuple(_rules(report, "mixed", "identical", "duplicate", "contradiction", "near-identical"))
    if _is_ranked(report):
        return Reason(question, f"Yes: {pairs - useless:,} of {pairs:,} pairs rank one answer over another.", rules)
    if _is_supervised(report) and not pairs:
        return Reason(question, "No: the rows hold one answer each, and nothing to prefer it to.", rules)
    if pairs < ENOUGH:
        return Reason(question, f"No: {plural(pairs, 'pair')}, and preferences need {ENOUGH} at the least.", rules)
    return Reason(
        question, f"No: {useless:,} of {pairs:,} pairs repeat an answer or another pair, or contradict one.", rules
    )


def _model(works: bool | None) -> Reason:  # noqa: FBT001 - private, and the only one
    question = "Does the model you start from already give acceptable answers to such prompts?"
    answers = {
        True: "Yes, you say: DPO moves it from the rejected answers to the chosen ones.",
        False: "No, you say: DPO lowers answers that the model would not give anyway; teach it the chosen ones first.",
        None: "A file cannot tell. If it does, DPO on what you have saves the first job; if not, or if you do not "
        "know, the supervised job comes first.",
    }
    return Reason(question, answers[works])


def _failure(report: Report) -> Reason:
    question = "Is there a failure to remove, paired against what is wanted?"
    rules = tuple(_rules(report, *_FAILURES))
    if rules:
        told = "; ".join(finding.message for finding in report.findings if finding.rule in _FAILURES)
        return Reason(question, f"The sides differ plainly: {told}. Look whether that is the failure you mean.", rules)
    if report.stats.sampled < ENOUGH:
        return Reason(question, f"Not looked at: that takes a sample of at least {ENOUGH} pairs.")
    return Reason(question, "Nothing of form or length sets the sides apart: the difference lies in what they say.")


def _rules(report: Report, *names: str) -> Iterator[str]:
    found = {finding.rule for finding in report.findings}
    yield from (name for name in names if name in found)
