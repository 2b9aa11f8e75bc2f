import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import httpx
import pytest
import respx

from preftune.cli import main


def row(prompt="Q?", chosen="a", rejected="b", **more):
    """Return a preference row."""
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
        **more,
    }


@pytest.fixture
def good():
    """Return a function that makes preference rows."""
    return row


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(folder):
    """Return a function that writes rows, or bytes for lines, to a file in the current folder."""

    def write(*lines, name="pairs.jsonl"):
        path = folder / name
        raw = [each if isinstance(each, bytes) else json.dumps(each, ensure_ascii=False).encode() for each in lines]
        path.write_bytes(b"".join(each + b"\n" for each in raw))
        return name

    return write


@pytest.fixture
def run(capsys):
    """Return a function that runs the command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture
def terminal(folder):
    """Return a function that runs the command line in a terminal of 80 columns: exit code, and what it shows."""

    def terminal(*arguments, columns=80):
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        command = [sys.executable, "-m", "preftune", *map(str, arguments)]
        done = subprocess.Popen(command, cwd=folder, stdout=its, stderr=its, env=environment | {"TERM": "xterm"})
        os.close(its)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # the end of a terminal, on Linux
            pass
        os.close(ours)
        return done.wait(), shown.decode().replace("\r\n", "\n")

    return terminal


@pytest.fixture
def piped(folder):
    """Return a function that runs the command line with its output in a pipe: exit code, output, errors, as bytes."""

    def piped(*arguments, **environment):
        command = [sys.executable, "-m", "preftune", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, env=os.environ | environment, check=False)
        return done.returncode, done.stdout, done.stderr

    return piped


@pytest.fixture
def plain():
    """Return a function that takes the colours out of what a terminal showed."""
    return lambda shown: re.sub(r"\x1b\[[\d;]*m", "", shown)


@pytest.fixture
def bad_files(folder, good):
    """Return names of files that hold no preference pair, each with what stands in it."""
    (folder / "folder.jsonl").mkdir()
    contents = {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n \n",
        "list.jsonl": b'[\n{"a": 1}\n]\n',
        "binary.jsonl": bytes(range(256)),
        "latin.jsonl": b'{"a": "\xe9"}\n',
        "broken.jsonl": b'{"input": \n',
        "trl.jsonl": b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n',
        "sft.jsonl": b'{"messages": [{"role": "user", "content": "p"}]}\n',
        "faulty.jsonl": json.dumps(good(preferred_output=[])).encode(),
        "zipped.jsonl": b"\x1f\x8b\x08\x00",
        "utf16.jsonl": json.dumps(good()).encode("utf-16"),
    }
    for name, content in contents.items():
        Path(name).write_bytes(content)
    return ["absent.jsonl", "folder.jsonl", *contents]


@pytest.fixture
def answering(monkeypatch):
    """Return a function that has the hosted side answer paths, and a router to look at what was asked."""
    monkeypatch.setenv("PREFTUNE_BASE_URL", "http://hosted.test")
    monkeypatch.setenv("PREFTUNE_API_KEY", "key-of-the-user")
    with respx.mock(assert_all_called=False) as router:

        def answering(**answers):
            for call, answer in answers.items():
                method, _, path = call.partition("_")
                url = f"http://hosted.test/v1/fine-tunes/ft-1{path and '/' + path}"
                router.request(method, url).mock(httpx.Response(200, json=answer))
            return router

        yield answering
