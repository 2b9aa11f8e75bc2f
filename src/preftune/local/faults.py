"""What is to go wrong, on command: rules for requests, and for the jobs and files that come next.

    [METHOD] PATH ACTION [how often]     POST /fine-tunes 500 once       GET */metrics 429 retry-after=2 every 3
    JOB-FAULT [at step N] [how often]    job-error at step 5             stuck-queued once

PATH goes without /v1, and `*` stands for anything. A rule without a word on how often acts each time.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from preftune.errors import LocalServerError

METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "*")
# drop: not handled, and broken off; lose: handled, and broken off before the answer; truncate: after half of the answer
ACTIONS = ("drop", "lose", "truncate", "slow")
JOB_FAULTS = ("job-error", "user_error", "refund", "early-stop", "stuck-queued")
FILE_FAULTS = ("invalid-format",)
_STEPPED = ("job-error", "user_error", "refund", "early-stop")
_SLOW = 1.0  # seconds
_GRAMMAR = (
    "write 'POST /fine-tunes 500 once', 'GET */metrics 429 retry-after=2 every 3', 'PUT /storage/* drop', "
    "'GET /files slow=0.5', or 'job-error at step 5'"
)
_VERSION = re.compile(r"^(/v1)+(?=/)")


@dataclass(eq=False)
class Fault:
    """One rule, and how often it was asked and has acted."""

    text: str
    action: str  # a status, one of ACTIONS, or a fault of jobs or files
    method: str = "*"
    path: str = ""
    amount: float | None = None  # seconds of `slow`, bytes of `truncate`
    retry_after: float | None = None  # seconds
    step: int = 1
    times: int | None = None
    every: int = 1
    asked: int = 0
    acted: int = 0

    @property
    def status(self) -> int | None:
        """Return the status that a request is answered with, if that is what the rule does."""
        return int(self.action) if self.action.isdigit() else None

    def is_about(self, method: str, path: str) -> bool:
        """Tell whether a request is one that the rule is for; `*` in its path stands for anything."""
        pattern = ".*".join(re.escape(part) for part in self.path.split("*"))
        return bool(self.path) and self.method in ("*", method) and bool(re.fullmatch(pattern, path, re.DOTALL))

    def acts(self) -> bool:
        """Tell whether the rule acts on what it has just been asked about, and count it."""
        self.asked += 1
        due = self.asked % self.every == 0 and (self.times is None or self.acted < self.times)
        self.acted += due
        return due


@dataclass
class Faults:
    """The rules of a server, first come first asked. Threads may add and remove them while it runs."""

    _rules: list[Fault] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def add(self, rule: str) -> Fault:
        """Add a rule and return it; its `acted` counts. Raises LocalServerError for one that cannot be read."""
        fault = parse(rule)
        with self._guard:
            self._rules.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a rule away; one that is not there is no error."""
        with self._guard:
            self._rules = [rule for rule in self._rules if rule is not fault]

    def clear(self) -> None:
        """Take all rules away."""
        with self._guard:
            self._rules.clear()

    def __iter__(self) -> Iterator[Fault]:
        """Iterate over the rules as they stand now."""
        return iter(list(self._rules))

    def of_request(self, method: str, path: str) -> Fault | None:
        """Return the rule that acts on a request, or None."""
        short = _VERSION.sub("", path)
        with self._guard:
            return next((rule for rule in self._rules if rule.is_about(method, short) and rule.acts()), None)

    def of_job(self) -> dict[str, int]:
        """Return what goes wrong with the job that is just created, by the step at which it does."""
        return self._of(JOB_FAULTS)

    def awaits_file(self) -> bool:
        """Tell whether a rule still waits for a file to go wrong."""
        with self._guard:
            rules = [rule for rule in self._rules if rule.action in FILE_FAULTS]
        return any(rule.times is None or rule.acted < rule.times for rule in rules)

    def of_file(self) -> dict[str, int]:
        """Return what goes wrong with the file that is just read."""
        return self._of(FILE_FAULTS)

    def _of(self, kinds: tuple[str, ...]) -> dict[str, int]:
        found: dict[str, int] = {}
        with self._guard:
            for rule in self._rules:
                if rule.action in kinds and rule.action not in found and rule.acts():
                    found[rule.action] = rule.step
        return found


def parse(rule: str) -> Fault:
    """Return the rule that a line of text means. Raises LocalServerError, naming the word that does not fit."""
    words = rule.split()
    fault = Fault(text=rule, action="")
    if words and words[0].upper() in METHODS and words[0] != "*":
        fault.method = words.pop(0).upper()
    elif words and words[0] == "*" and len(words) > 1 and words[1].startswith(("/", "*")):
        words.pop(0)
    if words and words[0].startswith(("/", "*")):
        fault.path = _VERSION.sub("", words.pop(0))
    if not words:
        raise _unreadable(rule, "expected what is to happen, found nothing")
    _read_action(fault, words.pop(0))
    while words:
        _read_option(fault, words)
    return fault


def _read_action(fault: Fault, word: str) -> None:
    name, has_amount, amount = word.partition("=")
    if fault.path:
        if not (name in ACTIONS or re.fullmatch("[45][0-9][0-9]", name)):
            expected = f"a status from 400 to 599, {', '.join(ACTIONS)}"
            raise _unreadable(fault.text, f"expected {expected}, found {word!r}")
    elif name not in JOB_FAULTS + FILE_FAULTS:
        known = ", ".join(JOB_FAULTS + FILE_FAULTS)
        raise _unreadable(fault.text, f"expected a path that begins with / or *, or one of {known}, found {word!r}")
    elif fault.method != "*":
        raise _unreadable(fault.text, f"expected a path after {fault.method}, found {word!r}")
    fault.action = name
    fault.amount = _SLOW if name == "slow" else None
    if has_amount:
        if name not in ("slow", "truncate"):
            raise _unreadable(fault.text, f"{name} takes no amount, found {word!r}")
        fault.amount = _number(fault.text, name, amount)


def _read_option(fault: Fault, words: list[str]) -> None:
    word = words.pop(0)
    if word == "once":
        fault.times = 1
    elif word == "times":
        fault.times = _count(fault.text, word, words)
    elif word == "every":
        fault.every = _count(fault.text, word, words)
    elif word.startswith("retry-after=") and fault.status:
        fault.retry_after = _number(fault.text, "retry-after", word.partition("=")[2])
    elif word == "at" and words[:1] == ["step"] and fault.action in _STEPPED:
        words.pop(0)
        fault.step = _count(fault.text, "at step", words)
    else:
        raise _unreadable(fault.text, f"{word!r} does not fit after {fault.action}")


def _count(rule: str, name: str, words: list[str]) -> int:
    word = words.pop(0) if words else ""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", word, re.ASCII):
        raise _unreadable(rule, f"expected a whole number of at least 1 after {name}, found {word!r}")
    return int(word)


def _number(rule: str, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10**9:
        raise _unreadable(rule, f"expected a number of at least 0 after {name}=, found {text!r}")
    return value


def _unreadable(rule: str, reason: str) -> LocalServerError:
    return LocalServerError(f"fault {rule!r}: {reason}; {_GRAMMAR}")
