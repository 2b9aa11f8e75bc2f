import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from preftune.client.ledger import Ledger, state_folder

BASE = "http://api.test"
SENTENCE = "the ledger of jobs is not kept"


def bare(entries):
    """Return entries without their times."""
    return [{name: value for name, value in entry.items() if name != "at"} for entry in entries]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def ledger(folder):
    return Ledger(str(folder), BASE)


def test_an_entry_is_a_line_with_its_time_and_its_api(ledger, folder):
    ledger.record({"event": "asked", "key": "größe"})
    line = (folder / "jobs.jsonl").read_text()
    entry = json.loads(line)
    assert (line.count("\n"), line[-1], entry.pop("at")[-6:]) == (1, "\n", "+00:00")
    assert entry == {"base_url": BASE, "event": "asked", "key": "größe"}


def test_entries_are_read_oldest_first_by_whoever_comes_later(ledger, folder):
    for number in range(3):
        ledger.record({"number": number})
    assert [entry["number"] for entry in Ledger(str(folder), BASE).entries()] == [0, 1, 2]


def test_a_ledger_without_a_file_is_empty_and_makes_none(ledger, folder):
    assert (ledger.entries(), folder.exists()) == ([], False)


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_the_ledger_is_its_owners_alone(ledger, folder, mask):
    before = os.umask(mask)
    try:
        ledger.record({})
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "jobs.jsonl")] == ["0o700", "0o600"]


def test_entries_of_another_api_are_not_shown(ledger, folder):
    ledger.record({"key": "here"})
    other = Ledger(str(folder), "http://other.test")
    other.record({"key": "there"})
    assert bare(ledger.entries()) == [{"base_url": BASE, "key": "here"}]
    assert bare(other.entries()) == [{"base_url": "http://other.test", "key": "there"}]


def test_lines_of_threads_stay_whole(folder):
    def write(name):
        ledger = Ledger(str(folder), BASE)
        for number in range(20):
            ledger.record({"name": name, "number": number, "long": "x" * 20_000})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    entries = Ledger(str(folder), BASE).entries()
    assert sorted((one["name"], one["number"]) for one in entries) == [(n, i) for n in "abcd" for i in range(20)]


def test_lines_of_processes_stay_whole(folder):
    code = (
        "import sys; from preftune.client.ledger import Ledger; ledger = Ledger(sys.argv[1], 'http://api.test'); "
        "print(flush=True); input(); "  # both begin together
        "[ledger.record({'name': sys.argv[2], 'number': i, 'long': 'x' * 20_000}) for i in range(30)]"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for process in both:
        process.stdout.readline()
    for process in both:
        process.communicate("\n")
    entries = Ledger(str(folder), BASE).entries()
    assert sorted((one["name"], one["number"]) for one in entries) == [(n, i) for n in "ab" for i in range(30)]


@pytest.mark.parametrize("damage", ['{"key": "cut o', "[1]", "7", "\udcff\ufffd", '{"key": "no line end"}'])
def test_a_line_that_was_cut_off_costs_no_other(ledger, folder, damage):
    ledger.record({"key": "first"})
    with (folder / "jobs.jsonl").open("ab") as file:
        file.write(damage.encode("utf-8", "surrogateescape"))
    ledger.record({"key": "second"})
    assert bare(Ledger(str(folder), BASE).entries()) == [
        {"base_url": BASE, "key": "first"},
        {"base_url": BASE, "key": "second"},
    ]


def test_without_a_folder_entries_are_kept_by_this_ledger_alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    first, second = Ledger("", BASE), Ledger("", BASE)
    first.record({"key": "a"})
    assert (bare(first.entries()), second.entries(), first.path) == ([{"base_url": BASE, "key": "a"}], [], None)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_cannot_be_written_is_told_once_and_kept_in_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    ledger = Ledger(str(tmp_path / "file"), BASE)
    with caplog.at_level(logging.WARNING, logger="preftune"):
        assert ledger.entries() == []
        for key in "ab":
            ledger.record({"key": key})
        assert ledger.claim("ft-1", {"key": "c", "job": "ft-1"})
        assert not ledger.claim("ft-1", {"key": "d", "job": "ft-1"})
    assert [entry["key"] for entry in ledger.entries()] == ["a", "b", "c"]
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [SENTENCE]


def test_a_disk_that_is_full_is_told_once_and_the_entry_kept_in_memory(ledger, caplog, monkeypatch):
    def full(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ledger.record({"key": "a"})
    monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records] == [
        f"{SENTENCE} ([Errno 28] No space left on device); name a folder in PREFTUNE_STATE_DIR, or leave it empty"
    ]
    assert {entry["key"] for entry in ledger.entries()} == {"a"}


def test_a_job_is_claimed_by_one_call_and_by_it_again(ledger, folder):
    other = Ledger(str(folder), BASE)
    assert ledger.claim("ft-1", {"key": "a", "job": "ft-1"})
    assert not other.claim("ft-1", {"key": "b", "job": "ft-1"})
    assert other.claim("ft-1", {"key": "a", "job": "ft-1"})
    assert other.claim("ft-2", {"key": "b", "job": "ft-2"})
    assert [(entry["key"], entry["job"]) for entry in ledger.entries()] == [
        ("a", "ft-1"), ("a", "ft-1"), ("b", "ft-2"),
    ]  # fmt: skip


def test_a_job_of_another_api_can_be_claimed(ledger, folder):
    assert Ledger(str(folder), "http://other.test").claim("ft-1", {"key": "a", "job": "ft-1"})
    assert ledger.claim("ft-1", {"key": "b", "job": "ft-1"})


def test_of_threads_that_claim_one_job_one_has_it(folder):
    ledgers = [Ledger(str(folder), BASE) for _ in range(2)]
    start, won = threading.Barrier(8), []

    def claim(number):
        start.wait(5)
        if ledgers[number % 2].claim("ft-1", {"key": str(number), "job": "ft-1"}):
            won.append(str(number))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [entry["key"] for entry in ledgers[0].entries()] == won
    assert len(won) == 1


def test_of_processes_that_claim_one_job_one_has_it(folder):
    code = (
        "import sys; from preftune.client.ledger import Ledger; ledger = Ledger(sys.argv[1], 'http://api.test'); "
        "print(flush=True); input(); "
        "print(*[ledger.claim(f'ft-{i}', {'key': sys.argv[2], 'job': f'ft-{i}'}) for i in range(50)])"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [subprocess.Popen([*command, key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for key in "ab"]
    for process in both:
        process.stdout.readline()
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    first, second = (process.communicate()[0].split() for process in both)
    assert [{one, other} for one, other in zip(first, second, strict=True)] == [{"True", "False"}] * 50


def test_a_lock_that_cannot_be_made_is_told_once_and_the_job_claimed_all_the_same(ledger, folder, caplog):
    (folder / "jobs.lock").mkdir(parents=True)
    assert ledger.claim("ft-1", {"key": "a", "job": "ft-1"})
    assert not ledger.claim("ft-1", {"key": "b", "job": "ft-1"})
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [SENTENCE]


def test_a_key_whose_lock_cannot_be_made_is_held_in_memory(ledger, folder, caplog):
    ledger.hold("key")()
    (lock,) = (folder / "keys").iterdir()
    lock.unlink()
    lock.mkdir()
    let_go = ledger.hold("key")
    assert ledger.hold("key") is None
    let_go()
    assert ledger.hold("key") is not None
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == [SENTENCE]


def test_a_folder_that_may_not_be_written_holds_no_lock(ledger, folder, monkeypatch):
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    let_go = ledger.hold("key")
    assert ledger.hold("key") is None
    let_go()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("state_dir", ["state", "file/in/it", ""])
def test_of_threads_that_hold_one_key_one_has_it(tmp_path, state_dir):
    (tmp_path / "file").write_text("no folder")
    ledger = Ledger(str(tmp_path / state_dir) if state_dir else "", BASE)
    start, answers = threading.Barrier(8), []

    def hold():
        start.wait(5)
        answers.append(ledger.hold("key"))

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    (let_go,) = [answer for answer in answers if answer is not None]
    assert len(answers) == 8
    let_go()
    ledger.hold("key")()


def test_a_key_is_held_against_other_processes_until_the_one_that_holds_it_dies(ledger, folder):
    code = (
        "import sys; from preftune.client.ledger import Ledger; "
        "let_go = Ledger(sys.argv[1], 'http://api.test').hold('key'); print(let_go is not None, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "True\n"
        assert ledger.hold("key") is None
        holder.kill()
    let_go = ledger.hold("key")
    with subprocess.Popen(command, **pipes) as other:
        assert other.communicate("\n")[0] == "False\n"
    let_go()


def test_without_a_folder_a_key_is_held_by_this_ledger_alone():
    assert None not in {Ledger("", BASE).hold("key"), Ledger("", BASE).hold("key")}


@pytest.mark.parametrize("state_dir", ["state", "file/in/it", ""])
def test_a_key_is_held_by_one_call_until_it_is_let_go(tmp_path, monkeypatch, state_dir):
    (tmp_path / "file").write_text("no folder")
    ledger = Ledger(str(tmp_path / state_dir) if state_dir else "", BASE)
    let_go = ledger.hold("größe")
    assert ledger.hold("größe") is None
    other = ledger.hold("other")
    let_go()
    again = ledger.hold("größe")
    assert again is not None
    again()
    other()


def test_a_key_is_held_against_other_ledgers_but_not_those_of_another_api(ledger, folder):
    let_go = ledger.hold("key")
    assert Ledger(str(folder), BASE).hold("key") is None
    elsewhere = Ledger(str(folder), "http://other.test").hold("key")
    assert elsewhere is not None
    elsewhere()
    let_go()
    assert [path.suffix for path in (folder / "keys").iterdir()] == [".lock"] * 2


def test_the_users_own_folder_is_the_platforms(monkeypatch, tmp_path):
    asked = []

    def platform(*names, **options):
        asked.append((names, options))
        return tmp_path / "own"

    monkeypatch.setattr("platformdirs.user_state_path", platform)
    assert (state_folder(None), Ledger(None, BASE).path) == (tmp_path / "own", tmp_path / "own" / "jobs.jsonl")
    assert asked[0] == (("preftune",), {"appauthor": False})
    assert (state_folder(""), state_folder("/there")) == (None, tmp_path.__class__("/there"))
