"""Flows driven by hand: no network, no clock, no loop."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from preftune.api.steps import Emit, Now, Request, Response, Sleep, Token
from preftune.errors import APIConnectionError, status_class


@dataclass
class Played:
    """What a flow ended with, and what it emitted on the way."""

    result: Any = None
    emitted: list[Any] = field(default_factory=list)


def _respond(step, answer):
    if isinstance(step, Request):
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return Response(200, {}, content, step)
    return answer


def _advance(flow, step, answer):
    return flow.throw(answer) if isinstance(answer, Exception) else flow.send(_respond(step, answer))


@pytest.fixture
def play():
    """Drive a flow through a script of (expected step, answer or error); it must end with the script."""

    def run(flow, *script):
        played, script = Played(), list(script)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Emit):
                    played.emitted.append(step.item)
                    step = flow.send(None)
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


@pytest.fixture(scope="session")
def world():
    """Drive a flow against a function that answers requests, on a clock that only sleeping moves."""

    class World:
        def __init__(self, server):
            self.server, self.now, self.requests, self.slept = server, 0.0, [], []
            self.played = Played()

        def run(self, flow):
            try:
                step = next(flow)
                while True:
                    step = _advance(flow, step, self.answer(step))
            except StopIteration as end:
                self.played.result = end.value
            return self.played

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
            self.requests.append(step)
            return self.server(step)

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
