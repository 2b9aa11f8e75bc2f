import os
import pty
import re
import sys
from contextlib import contextmanager
from threading import Thread

import pytest

from preftune.cli import data
from preftune.cli.data import ready_to_paste
from preftune.pairs import check


@contextmanager
def on_a_terminal(monkeypatch):
    """Have standard error be a terminal of 80 columns; the list that is given holds what it showed in the end."""
    ours, its = pty.openpty()
    pieces, shown = [], []

    def read():  # beside the writing, for a terminal holds little
        while not b"".join(pieces[-2:]).endswith(b"END"):
            pieces.append(os.read(ours, 65_536))

    reader = Thread(target=read)
    reader.start()
    with monkeypatch.context() as changed, os.fdopen(its, "w", encoding="utf-8") as stream:
        changed.setenv("TERM", "xterm")
        changed.setenv("COLUMNS", "80")
        changed.setattr(sys, "stderr", stream)
        try:
            yield shown
        finally:
            stream.write("END")
            stream.flush()
            reader.join()
            os.close(ours)
    shown.append(b"".join(pieces).removesuffix(b"END").decode())


@pytest.mark.parametrize("command", ["check", "stats", "advise"])
def test_a_large_file_has_a_bar_on_a_terminal_that_is_gone_at_the_end(run, write, good, monkeypatch, command):
    monkeypatch.setattr(data, "_LARGE", 1)
    name = write(*[good(f"{number}?", f"a{number}", "b") for number in range(500)])
    before = run(command, name)
    with on_a_terminal(monkeypatch) as shown:
        assert run(command, name) == before
    (bar,) = shown
    assert "reading pairs.jsonl" in bar
    assert bar.endswith("\x1b[2K")
    assert max(len(re.sub(r"\x1b\[[\d;?]*\w", "", line)) for line in re.split(r"[\r\n]+", bar)) <= 80


def test_a_small_file_has_no_bar(run, write, good, monkeypatch):
    with on_a_terminal(monkeypatch) as shown:
        assert run("check", write(good()))[0] == 0
    assert shown == [""]


def test_without_a_terminal_there_is_no_bar(run, write, good, monkeypatch):
    monkeypatch.setattr(data, "_LARGE", 1)
    assert run("check", write(good()))[::2] == (0, "")


def test_what_is_no_file_has_no_bar(run, folder, monkeypatch):
    monkeypatch.setattr(data, "_LARGE", 0)
    with on_a_terminal(monkeypatch) as shown:
        assert run("check", "absent.jsonl")[0] == 2
    assert "reading" not in shown[0]


def test_hints_of_findings_that_name_no_file_stay_as_they_are(write, good, folder):
    report = check(write(good(), good(), {}, b"["))
    assert ready_to_paste(report) == report
