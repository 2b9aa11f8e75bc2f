import os
import pickle
import signal
import subprocess
import sys
import threading
import types
from concurrent.futures import BrokenExecutor, Executor
from pathlib import Path

import pytest

from preftune.errors import DataError
from preftune.pairs import processes
from preftune.pairs.processes import Processes, cores, serve, startable
from preftune.pairs.rules.catalog import pair_line


def is_gone(pid):
    """Tell whether no such process is left, not even one that nobody waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def pool():
    with Processes(2) as pool:
        yield pool


def test_a_call_is_made_in_another_process_and_its_result_comes_back(pool):
    assert isinstance(pool, Executor)
    assert pool.submit(sorted, [3, 1, 2], reverse=True).result() == [3, 2, 1]
    assert pool.submit(os.getpid).result() != os.getpid()


def test_results_come_back_in_the_order_of_the_calls(pool):
    assert list(pool.map(divmod, range(50), [7] * 50)) == [divmod(number, 7) for number in range(50)]


def test_the_processes_have_an_environment_of_their_own_beside_the_callers(monkeypatch):
    monkeypatch.setenv("PREFTUNE_INHERITED", "one")
    monkeypatch.setenv("PREFTUNE_CHANGED", "one")
    with Processes(1, {"PREFTUNE_CHANGED": "two", "PREFTUNE_ADDED": "three"}) as pool:
        names = ("PREFTUNE_INHERITED", "PREFTUNE_CHANGED", "PREFTUNE_ADDED")
        assert list(pool.map(os.getenv, names)) == ["one", "two", "three"]
    assert (os.getenv("PREFTUNE_CHANGED"), os.getenv("PREFTUNE_ADDED")) == ("one", None)


def test_interpreters_are_started_on_posix_by_one_that_is_no_frozen_program(monkeypatch):
    assert startable()
    for module, changes in (
        ("os", {"name": "nt"}),
        ("sys", {"executable": sys.executable, "frozen": True}),
        ("sys", {"executable": None}),
        ("sys", {"executable": ""}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(processes, module, types.SimpleNamespace(**changes))
            assert startable() is False


def test_cores_are_those_that_this_process_may_use_or_all_that_are_known(monkeypatch):
    monkeypatch.setattr(processes, "os", types.SimpleNamespace(sched_getaffinity=lambda _: {0, 2, 5}))
    assert cores() == 3
    for known, expected in ((None, 1), (1, 1), (4, 4)):
        monkeypatch.setattr(processes, "os", types.SimpleNamespace(cpu_count=lambda known=known: known))
        assert cores() == expected


def test_no_more_processes_are_started_than_stated():
    with Processes(2) as pool:
        assert 1 <= len({future.result() for future in [pool.submit(os.getpid) for _ in range(20)]}) <= 2


def test_a_process_answers_one_call_after_the_other():
    with Processes(1) as pool:
        assert pool.submit(os.getpid).result() == pool.submit(os.getpid).result()


def test_large_calls_and_large_results_pass_through(pool):
    text = "x" * 5_000_000
    assert pool.submit(str.upper, text).result() == text.upper()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        ((int, "x"), ValueError, "invalid literal"),
        ((Path.read_bytes, Path("no-such-file")), FileNotFoundError, "no-such-file"),
        ((pickle.loads, pickle.dumps(KeyError("k"))), None, ""),
    ],
)
def test_an_exception_of_the_call_reaches_the_caller_with_its_type(pool, call, kind, words):
    future = pool.submit(*call)
    if kind is None:
        assert (type(future.result()), future.result().args) == (KeyError, ("k",))
    else:
        with pytest.raises(kind, match=words):
            future.result()
    assert pool.submit(abs, -1).result() == 1


def test_an_exception_that_carries_more_than_words_reaches_the_caller_whole(pool):
    raising = pickle.dumps(DataError("pairs.jsonl: unfit", ["finding"]))
    error = pool.submit(pickle.loads, raising).result()
    assert (type(error), str(error), error.findings) == (DataError, "pairs.jsonl: unfit", ["finding"])


def test_what_cannot_be_sent_is_refused_and_the_next_call_is_made(pool):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pool.submit(lambda: None).result()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pool.submit(len, ["x" * 100_000, threading.Lock()]).result()
    assert [pool.submit(abs, -number).result() for number in range(5)] == list(range(5))


def test_a_result_that_cannot_be_sent_is_an_error_of_that_call_alone(pool):
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pool.submit(open, os.devnull).result()
    assert pool.submit(abs, -1).result() == 1


def test_a_function_that_the_other_process_does_not_find_is_an_error_of_that_call_alone(pool, monkeypatch):
    here = types.ModuleType("only_in_this_process")
    monkeypatch.setitem(sys.modules, here.__name__, here)
    here.call = types.FunctionType((lambda: None).__code__, {"__name__": here.__name__}, "call")
    here.call.__qualname__ = "call"
    with pytest.raises(ModuleNotFoundError, match="only_in_this_process"):
        pool.submit(here.call).result()
    assert pool.submit(abs, -1).result() == 1


def test_what_a_call_prints_is_no_answer(pool, capfd):
    assert pool.submit(print, "hello").result() is None
    assert capfd.readouterr() == ("", "hello\n")


@pytest.mark.parametrize(
    "code",
    ["import os; os.write(1, b'hello')", "import subprocess; subprocess.run(['echo', '-n', 'hello'], check=True)"],
)
def test_what_a_call_writes_to_standard_output_by_number_is_no_answer(pool, capfd, code):
    assert pool.submit(exec, code, {}).result() is None
    assert capfd.readouterr() == ("", "hello")


def test_what_a_call_reads_from_standard_input_is_no_call(pool):
    assert pool.submit(os.read, 0, 100).result() == b""
    assert pool.submit(abs, -1).result() == 1


def test_what_a_startup_hook_prints_is_no_answer(tmp_path, monkeypatch, capfd):
    (tmp_path / "sitecustomize.py").write_text("import os\nprint('a hook')\nos.write(1, b'by number')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with Processes(1) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    told = "".join(capfd.readouterr())
    assert "a hook" in told
    assert "by number" in told


def test_a_process_that_dies_is_a_clear_error_and_the_next_call_has_a_new_one():
    with Processes(1) as pool:
        first = pool.submit(os.getpid).result()
        with pytest.raises(
            BrokenExecutor, match=rf"^process {first}: expected an answer, found it ended with status 3"
        ):
            pool.submit(os._exit, 3).result()
        second = pool.submit(os.getpid).result()
        assert second != first
    assert is_gone(first)
    assert is_gone(second)


def test_a_process_that_was_killed_while_idle_is_a_clear_error():
    with Processes(1) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BrokenExecutor, match="found it ended with status -9"):
            pool.submit(str.upper, "x" * 1_000_000).result()
        assert pool.submit(abs, -1).result() == 1


def test_a_process_that_dies_in_the_middle_of_an_answer_is_a_clear_error():
    """Standard output is the pipe of the answers: a call that writes to it by number and dies leaves half of one."""
    with Processes(1) as pool:
        cut = pickle.dumps(b"x" * 100)[:-50]
        code = f"import os; [os.write(number, {cut!r}) for number in range(1, 10) if number != 2 and ok(number)]"
        names = "import os, stat\ndef ok(number):\n try: return stat.S_ISFIFO(os.fstat(number).st_mode)\n except OSError: return False"  # noqa: E501
        with pytest.raises(BrokenExecutor, match="found it ended with status 5"):
            pool.submit(exec, f"{names}\n{code}\nos._exit(5)", {}).result()


def answering(written, then):
    """Return code that writes bytes where an answer is due; it is told by number on the command line."""
    return f"import os, signal, sys; os.write(int(sys.argv[2]), {written!r}); {then}"


def test_a_process_that_answers_with_something_else_and_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "_PATIENCE", 0.01)
    with Processes(1) as pool:
        first = pool.submit(os.getpid).result()
        with pytest.raises(
            BrokenExecutor, match=rf"^process {first}: expected an answer, found it ended with status -9"
        ):
            pool.submit(exec, answering(b"hello", "signal.pause()"), {}).result()
        assert is_gone(first)
        assert pool.submit(abs, -1).result() == 1


def test_any_other_error_between_call_and_answer_is_raised_as_it_is_and_the_next_call_has_a_new_process():
    with Processes(1) as pool:
        first = pool.submit(os.getpid).result()
        with pytest.raises(ValueError, match=r"convert|literal|parse"):
            pool.submit(exec, answering(b"Ino number\n.", "os._exit(0)"), {}).result()
        assert is_gone(first)
        assert pool.submit(os.getpid).result() != first


def test_an_interrupted_process_ends_without_a_word(capfd):
    with Processes(1) as pool, pytest.raises(BrokenExecutor, match="found it ended with status 0"):
        pool.submit(signal.raise_signal, signal.SIGINT).result()
    assert capfd.readouterr() == ("", "")


def test_no_process_is_left_over_after_shutdown():
    pool = Processes(3)
    pids = {future.result() for future in [pool.submit(os.getpid) for _ in range(9)]}
    pool.shutdown()
    assert all(map(is_gone, pids))
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(os.getpid)


def test_shutdown_may_be_called_again_and_before_any_call():
    Processes(2).shutdown()
    with Processes(1) as pool:
        pid = pool.submit(os.getpid).result()
        pool.shutdown()
        pool.shutdown()
    assert is_gone(pid)


def test_shutdown_waits_for_the_calls_under_way_whatever_it_is_told():
    pool = Processes(1)
    futures = [pool.submit(pow, 7, number) for number in range(20)]
    pool.shutdown(wait=False)
    assert [future.result() for future in futures] == [7**number for number in range(20)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a call is held up by a named pipe")
def test_an_error_beside_the_calls_takes_back_those_that_have_not_begun(tmp_path):
    os.mkfifo(tmp_path / "gate")
    with pytest.raises(ValueError, match="beside"), Processes(1) as pool:  # noqa: PT012 - what the block leaves behind
        held = pool.submit(Path.read_bytes, tmp_path / "gate")
        waiting = pool.submit(os.getpid)
        waiting.add_done_callback(lambda _: (tmp_path / "gate").write_bytes(b"open"))
        raise ValueError("beside")
    assert held.result() == b"open"
    assert waiting.cancelled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only a fork inherits pipes that were not handed to it")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_of_the_caller_does_not_keep_the_processes_alive():
    ours, theirs = os.pipe()
    pool = Processes(1)
    pid = pool.submit(os.getpid).result()
    fork = os.fork()
    if not fork:  # pragma: no cover - it holds every pipe of the caller until the caller lets it go
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    pool.shutdown()
    assert is_gone(pid)
    os.close(theirs)
    os.close(ours)
    assert os.waitpid(fork, 0) == (fork, 0)


def test_the_processes_end_when_the_caller_is_killed():
    code = (
        "import os, signal\n"
        "from preftune.pairs.processes import Processes\n"
        "pool = Processes(1)\n"
        "pool.submit(os.getpid).result()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    # the other process holds the standard error of the killed one: that it was read to its end says that both are gone
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, b"", b"")


SCRIPT = """
import json, sys
print("the script runs")
from preftune.pairs import check
report = check(sys.argv[1], workers=2)
print(json.dumps([report.pairs, report.ok]))
"""


@pytest.fixture
def run_script(tmp_path):
    """Return a function that runs a script on a file of two pairs, in a folder of the given files."""

    def run(**files):
        (tmp_path / "pairs.jsonl").write_bytes(pair_line() + b"\n" + pair_line("Another?") + b"\n")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "script.py").write_text(SCRIPT)
        (tmp_path / "here").mkdir()
        for name, text in files.items():
            (tmp_path / "here" / f"{name}.py").write_text(text)
        command = [sys.executable, "../bin/script.py", "../pairs.jsonl"]
        done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, timeout=60, check=False)
        return done.stdout, done.stderr

    return run


def test_a_script_without_a_main_guard_runs_once(run_script):
    assert run_script() == ("the script runs\n[2, true]\n", "")


def test_files_of_the_current_folder_are_not_taken_for_modules(run_script):
    """A script elsewhere does not import them either; `python -c` would."""
    poison = "raise ImportError('not the standard library')"
    assert run_script(pickle=poison, random=poison, msgspec=poison) == ("the script runs\n[2, true]\n", "")


def test_a_package_found_in_the_current_folder_is_found_by_the_processes(monkeypatch):
    import preftune

    monkeypatch.chdir(Path(preftune.__file__).parents[1])
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != os.getcwd())])  # noqa: PTH109
    with Processes(1) as pool:
        assert pool.submit(abs, -1).result() == 1


def test_serve_ends_with_its_input():
    calls, ours = os.pipe()
    theirs, answers = os.pipe()
    command = [sys.executable, "-c", f"from {serve.__module__} import serve; serve({calls}, {answers})"]
    os.close(ours)
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, pass_fds=(calls, answers))
    for each in (calls, theirs, answers):
        os.close(each)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
