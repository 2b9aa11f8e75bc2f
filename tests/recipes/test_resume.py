import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from preftune.errors import ConfigError
from preftune.recipes.resume import State, content_of, fingerprint

ARGUMENTS = {"model": "m", "data": ["abc", None]}


def opened(path, arguments=ARGUMENTS):
    """Return the state that a call with these arguments finds there."""
    state = State(path, arguments)
    state.open()
    return state


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "state.json"


@pytest.fixture
def left(path):
    """Return the file that an earlier call left."""
    state = opened(path)
    state.set(file="file-1", job="ft-1")
    state.close()
    return path


def test_a_call_finds_what_the_one_before_noted(left):
    state = opened(left)
    assert [state.get(step) for step in ("file", "job", "other")] == ["file-1", "ft-1", ""]
    state.set(job="", other="x")
    state.close()
    again = opened(left)
    assert [again.get(step) for step in ("file", "job", "other")] == ["file-1", "", "x"]
    again.close()


def test_the_file_holds_the_steps_and_of_the_arguments_their_fingerprint_alone(left):
    done = {"file": "file-1", "job": "ft-1"}
    assert json.loads(left.read_text()) == {"version": 1, "arguments": fingerprint(ARGUMENTS), "done": done}


def test_without_a_file_the_steps_are_kept_in_memory_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = opened(None)
    state.set(job="ft-1")
    assert state.get("job") == "ft-1"
    state.close()
    assert opened(None).get("job") == ""
    assert list(tmp_path.iterdir()) == []


def test_the_file_and_its_folder_are_their_owners_alone(left):
    assert (left.stat().st_mode & 0o777, left.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_file_that_others_could_read_is_so_no_longer_once_it_is_written(left):
    left.chmod(0o644)
    state = opened(left)
    state.set(job="ft-2")
    state.close()
    assert left.stat().st_mode & 0o777 == 0o600


def test_the_state_of_other_arguments_is_refused(left):
    with pytest.raises(ConfigError) as caught:
        opened(left, {**ARGUMENTS, "model": "other"})
    assert str(caught.value) == (
        f"state {left}: expected the state of this data and configuration, found that of another; "
        "name another file, or remove it"
    )


def test_the_state_of_another_version_is_refused(left):
    left.write_text(left.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ConfigError, match="found that of another"):
        opened(left)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"my notes",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b'{"arguments": "a"}',
        b'{"done": {}}',
        b'{"arguments": "a", "done": 3}',
        b'{"arguments": "a", "done": "text"}',
        b'{"version": 1, "arguments": "',
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_and_left_as_it_is(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        opened(path)
    sentence = f"state {path}: expected what a call like this left, found other text; move it"
    assert (str(caught.value), path.read_bytes()) == (sentence, text)


def test_a_refused_file_can_be_moved_and_the_call_made_again(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    state = State(path, ARGUMENTS)
    with pytest.raises(ConfigError) as caught:
        state.open()
    state.close()
    path.rename(tmp_path / "moved.txt")
    opened(path).close()
    assert caught.value.__traceback__ is not None  # a notebook keeps it, and with it every value of the call


def test_a_second_call_at_the_same_time_is_refused_until_the_first_has_ended(path):
    first = opened(path)
    second = State(path, ARGUMENTS)
    with pytest.raises(ConfigError) as caught:
        second.open()
    assert str(caught.value) == f"state {path}: expected to be alone, found another call at it; wait"
    second.close()
    with pytest.raises(ConfigError, match="found another call at it"):  # the second's end frees nothing of the first's
        opened(path)
    first.close()
    opened(path).close()


def test_a_call_of_another_process_is_refused_and_a_dead_one_holds_nobody_up(path):
    script = (
        "import pathlib, sys\n"
        "from preftune.recipes.resume import State\n"
        f"state = State(pathlib.Path({str(path)!r}), {ARGUMENTS!r})\n"
        "state.open()\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(ConfigError, match="found another call at it"):
            opened(path)
        other.kill()
        other.wait()
        opened(path).close()


def test_what_one_thread_opened_another_may_close(path):
    """The asynchronous driver opens in a thread of its pool and closes on its loop."""
    state = State(path, ARGUMENTS)
    thread = threading.Thread(target=state.open)
    thread.start()
    thread.join()
    state.close()
    opened(path).close()


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_while_writing_leaves_the_old_state(left, monkeypatch, call):
    def crash(*_):
        raise KeyboardInterrupt

    state = opened(left)
    with monkeypatch.context() as patch:
        patch.setattr(call, crash)
        with pytest.raises(KeyboardInterrupt):
            state.set(job="ft-2")
    state.close()
    again = opened(left)
    assert again.get("job") == "ft-1"
    again.set(job="ft-3")  # and what the crash left is in nobody's way
    again.close()
    assert sorted(path.name for path in left.parent.iterdir() if path.suffix != ".lock") == ["state.json"]


def test_a_state_is_on_disk_before_it_takes_its_name(left, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (fsync(file), done.append("synced")))
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append("named"), replace(path, to)))
    state = opened(left)
    state.set(job="ft-2")
    state.close()
    assert done == ["synced", "named"]


def test_the_fingerprint_depends_on_the_values_and_not_on_their_order():
    assert fingerprint({"a": 1, "b": None}) == fingerprint({"b": None, "a": 1})
    different = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": 1.5}, {"b": 1}, {"a": [1]}, {"a": None}, {}]
    assert len({fingerprint(each) for each in different}) == len(different)


def test_a_files_content_is_told_by_its_bytes_and_not_by_its_name(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    (tmp_path / "c").write_bytes(b"abd")
    of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4's own example
    assert [content_of(tmp_path / name) for name in "ab"] == [of_abc, of_abc]
    assert content_of(tmp_path / "c") != of_abc
    assert content_of(None) is None
