"""Flows driven by hand: no network, no clock, no loop."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from preftune.api.steps import Claim, Emit, Hold, Now, Record, Recorded, Request, Response, Retries, Sleep, Token
from preftune.errors import APIConnectionError, status_class


@dataclass
class Played:
    """What a flow ended with, what it emitted on the way, and all the steps that it took."""

    result: Any = None
    emitted: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)


class Notes:
    """A ledger in memory, and how often a failed request may be tried again: what flows are told at once."""

    def __init__(self, *entries, retries=2):
        self.entries, self.retries = [*entries], retries
        self.held = set()  # keys that calls are at

    def answer(self, step):
        match step:
            case Retries():
                return self.retries
            case Recorded():
                return [*self.entries]
            case Record(entry):
                return self.entries.append(dict(entry))
            case Claim(job, entry):
                is_free = all(old.get("job") != job or old.get("key") == entry["key"] for old in self.entries)
                self.entries += [dict(entry)] if is_free else []
                return is_free
            case Hold(key):
                return None if key in self.held else self._hold(key)

    def _hold(self, key):
        self.held.add(key)
        return lambda: self.held.remove(key)  # an error for a key that was let go before


_NOTED = Retries | Recorded | Record | Claim | Hold


def _respond(step, answer):
    if isinstance(step, Request):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Response(200, {}, content, step)
    return answer


def _advance(flow, step, answer):
    return flow.throw(answer) if isinstance(answer, BaseException) else flow.send(_respond(step, answer))


@pytest.fixture
def notes():
    """Make a ledger with these entries, and a number of retries."""
    return Notes


@pytest.fixture
def play():
    """Drive a flow through a script of (expected step, answer or error); it must end with the script.

    What is asked of the ledger is answered by `notes`, and stands in `steps` alone.
    """

    def run(flow, *script, notes=None):
        played, script, notes = Played(), list(script), notes or Notes()
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    played.emitted.append(step.item)
                    step = flow.send(None)
                    continue
                played.steps.append(step)
                if isinstance(step, _NOTED):
                    step = flow.send(notes.answer(step))
                    continue
                assert script, f"the script is over, the flow wants {step}"
                expected, answer = script.pop(0)
                assert step == expected
                step = _advance(flow, step, answer)
        except StopIteration as end:
            played.result = end.value
        assert not script, f"the flow is over, the script expects {script[0][0]}"
        return played

    return run


class World:
    """A server, a ledger and a clock that only sleeping moves."""

    def __init__(self, server, notes=None):
        self.server, self.now, self.requests, self.slept = server, 0.0, [], []
        self.played, self.notes = Played(), notes or Notes()

    def run(self, flow):
        try:
            step = next(flow)
            while True:
                step = self.advance(flow, step)
        except StopIteration as end:
            self.played.result = end.value
        return self.played

    def advance(self, flow, step):
        """Take one step of a flow, and return the next."""
        return _advance(flow, step, self.answer(step))

    def answer(self, step):
        match step:
            case Emit(item):
                return self.played.emitted.append(item)
            case Now():
                return self.now
            case Token():
                return "token-1"
            case Sleep(seconds):
                self.slept.append(seconds)
                self.now += seconds
                return None
        if isinstance(step, _NOTED):
            return self.notes.answer(step)
        self.requests.append(step)
        return self.server(step)


@pytest.fixture(scope="session")
def world():
    """Drive a flow against a function that answers requests, on a clock that only sleeping moves."""
    return World


@pytest.fixture
def refused():
    """Make the error that a status stands for."""

    def make(status, **more):
        return status_class(status)(f"{status}", method="GET", path="/x", status=status, **more)

    return make


@pytest.fixture
def dropped():
    """Make the error of a connection that broke, before or after the request was sent."""

    def make(*, ambiguous=True):
        return APIConnectionError("dropped", method="GET", path="/x", ambiguous=ambiguous)

    return make
