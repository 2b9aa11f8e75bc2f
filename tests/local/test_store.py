import sqlite3
import threading

import pytest

from preftune.errors import LocalServerError
from preftune.local.store import Store

FILE = {
    "id": "file-1",
    "created_at": 1,
    "filename": "pairs.jsonl",
    "purpose": "fine-tune",
    "file_type": "jsonl",
    "checksum": "ab",
}


@pytest.fixture
def add_job(store):
    def add(job_id="ft-1", key=None):
        return store.add_job(
            job_id, output_name=f"local/{job_id}", config={"a": 1}, facts={"model": "m"}, idempotency_key=key
        )

    return add


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    store = Store(tmp_path / "a" / "b")
    store.prepare()
    assert (store.files(), store.jobs(), store.next_job()) == ([], [], None)
    store.close()


def test_a_folder_is_opened_again_as_it_was_left(store, add_job):
    store.add_file(FILE)
    add_job()
    again = Store(store.folder)
    again.prepare()
    assert (again.files(), again.jobs()) == (store.files(), store.jobs())
    again.close()


def test_a_folder_of_another_version_is_refused_with_both_versions(store):
    with sqlite3.connect(store.folder / "preftune.db") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(LocalServerError, match=r"expected a data folder of version 2, found version 9; choose another"):
        store.prepare()


def test_a_folder_of_version_1_is_refused_and_left_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "preftune.db") as db:
        db.executescript("CREATE TABLE files (id TEXT PRIMARY KEY); PRAGMA user_version = 1")
    db.close()
    store = Store(tmp_path)
    with pytest.raises(LocalServerError) as error:
        store.prepare()
    store.close()
    assert str(error.value) == (
        f"{tmp_path}: expected a data folder of version 2, found version 1; choose another folder, "
        "or use the preftune that made this one"
    )
    with sqlite3.connect(tmp_path / "preftune.db") as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("files",)]
    db.close()


def test_a_database_of_another_program_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "preftune.db") as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    store = Store(tmp_path)
    with pytest.raises(LocalServerError, match=r"version 2, found version 0"):
        store.prepare()
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "preftune.db").write_text("not a database, and long enough to be read as one " * 40)
    store = Store(tmp_path)
    with pytest.raises(LocalServerError, match=r"preftune.db cannot be read, .*; choose another folder"):
        store.prepare()
    store.close()


def test_a_file_is_kept_with_its_report(store):
    store.add_file(FILE)
    pending = FILE | {"bytes": 0, "status": "PENDING", "report": None}
    assert store.file("file-1") == pending
    store.set_file("file-1", status="COMPLETED", bytes=7, report={"valid": True})
    assert store.file("file-1") == pending | {"bytes": 7, "status": "COMPLETED", "report": {"valid": True}}


def test_files_are_listed_newest_first(store):
    for number in (1, 2, 3):
        store.add_file(FILE | {"id": f"file-{number}", "created_at": 5 if number > 1 else 4})
    assert [one["id"] for one in store.files()] == ["file-3", "file-2", "file-1"]


def test_only_a_finished_upload_is_found_by_its_content(store):
    store.add_file(FILE)
    assert store.finished_upload("ab", "fine-tune") is None
    store.set_file("file-1", status="QUEUED")
    assert store.finished_upload("ab", "fine-tune")["id"] == "file-1"


def test_uploads_without_a_checksum_are_never_the_same(store):
    store.add_file(FILE | {"checksum": ""})
    store.set_file("file-1", status="COMPLETED")
    assert store.finished_upload("", "fine-tune") is None


def test_deleting_a_file_takes_its_bytes_along(store):
    store.add_file(FILE)
    store.file_path("file-1").write_bytes(b"x")
    store.delete_file("file-1")
    assert (store.file("file-1"), store.file_path("file-1").exists()) == (None, False)


def test_a_job_begins_pending_with_an_event(store, add_job):
    add_job()
    job, (event,) = store.job("ft-1"), store.events("ft-1")
    assert job["created_at"].endswith("Z")
    assert (job["status"], job["started_at"], job["config"], job["facts"]) == (
        "pending",
        None,
        {"a": 1},
        {"model": "m"},
    )
    assert (event["type"], event["message"], event["level"]) == ("job_pending", "The job was created.", "info")


def test_an_idempotency_key_returns_the_first_job(store, add_job):
    assert [add_job("ft-1", "k"), add_job("ft-2", "k"), add_job("ft-3"), add_job("ft-4")] == [
        "ft-1", "ft-1", "ft-3", "ft-4",
    ]  # fmt: skip
    assert [job["id"] for job in store.jobs()] == ["ft-4", "ft-3", "ft-1"]


def test_a_job_is_found_by_id_and_by_output_name(store, add_job):
    add_job()
    assert [(store.job_named(name) or {}).get("id") for name in ("ft-1", "local/ft-1", "ft-2")] == [
        "ft-1",
        "ft-1",
        None,
    ]


def test_the_oldest_waiting_job_is_next_and_runs(store, add_job):
    add_job("ft-1")
    add_job("ft-2")
    first = store.next_job()
    assert (first["id"], first["status"], first["attempts"]) == ("ft-1", "running", 1)
    assert first["started_at"] is not None
    store.move_job("ft-1", expected=("running",), to="completed")
    assert store.next_job()["id"] == "ft-2"


@pytest.mark.parametrize(("status", "attempts"), [("running", 2), ("uploading", 1)])
def test_a_job_that_a_dead_worker_left_is_next_again_as_it_stands(store, add_job, status, attempts):
    add_job()
    first = store.next_job()
    store.move_job("ft-1", expected=("running",), to=status)
    second = store.next_job()
    assert (second["status"], second["attempts"], second["started_at"]) == (status, attempts, first["started_at"])


def test_a_job_that_is_being_cancelled_stays_so_when_it_is_next(store, add_job):
    add_job()
    store.move_job("ft-1", expected=("pending",), to="cancel_requested")
    assert store.next_job()["status"] == "cancel_requested"


def test_a_status_changes_only_from_what_it_is_believed_to_be(store, add_job):
    add_job()
    assert not store.move_job("ft-1", expected=("running",), to="completed", facts={"lost": 1})
    assert store.move_job("ft-1", expected=("queued", "pending"), to="running", facts={"total_steps": 3})
    assert (store.status("ft-1"), store.job("ft-1")["facts"]) == ("running", {"model": "m", "total_steps": 3})


@pytest.mark.parametrize(("to", "level"), [("completed", "info"), ("cancelled", "info"), ("user_error", "error")])
def test_a_job_ends_together_with_its_last_event_or_not_at_all(store, add_job, to, level):
    add_job()
    assert not store.end_job("ft-1", expected=("running",), to=to, event="x", message="no")
    assert store.end_job("ft-1", expected=("pending",), to=to, event="x", message="yes")
    assert store.status("ft-1") == to
    assert [(e["type"], e["message"], e["level"]) for e in store.events("ft-1")[1:]] == [("x", "yes", level)]


def test_what_is_written_again_changes_nothing(store, add_job):
    add_job()
    for _ in range(2):
        store.add_row("ft-1", step=1, split="train", row={"train/loss": 1.0})
        store.add_event("ft-1", "epoch_complete", "Epoch 1", step=1)
        store.add_checkpoint("ft-1", step=1, final=True, message="Saved.")
    store.add_row("ft-1", step=1, split="train", row={"train/loss": 9.0})
    assert [row["train/loss"] for row in store.metrics("ft-1")] == [1.0]
    assert [event["type"] for event in store.events("ft-1")] == ["job_pending", "epoch_complete", "checkpoint_save"]
    assert [(row["step"], row["final"]) for row in store.checkpoints("ft-1")] == [(1, 1)]


def test_metrics_come_in_time_training_first_between_two_steps_inclusive(store, add_job):
    add_job()
    for step, split in [(2, "eval"), (1, "train"), (2, "train"), (3, "train")]:
        store.add_row("ft-1", step=step, split=split, row={split: step})

    def found(**bounds):
        return [next(item for item in row.items() if item[0] != "timestamp") for row in store.metrics("ft-1", **bounds)]

    assert found() == [("train", 1), ("train", 2), ("eval", 2), ("train", 3)]
    assert found(from_step=2) == [("train", 2), ("eval", 2), ("train", 3)]
    assert found(to_step=2) == [("train", 1), ("train", 2), ("eval", 2)]
    assert found(from_step=2, to_step=2) == [("train", 2), ("eval", 2)]


def test_a_number_that_json_cannot_hold_is_kept_as_null(store, add_job):
    add_job()
    row = {"train/loss": float("nan"), "train/grad_norm": float("-inf"), "train/learning_rate": 0.5}
    store.add_row("ft-1", step=1, split="train", row=row)
    (kept,) = store.metrics("ft-1")
    del kept["timestamp"]
    assert kept == {"train/loss": None, "train/grad_norm": None, "train/learning_rate": 0.5}


def test_checkpoints_come_newest_first(store, add_job):
    add_job()
    for step, final in [(1, False), (2, False), (1, True)]:
        store.add_checkpoint("ft-1", step=step, final=final, message=f"{step}")
    assert [(row["step"], row["final"]) for row in store.checkpoints("ft-1")] == [(1, 1), (2, 0), (1, 0)]


def test_a_deleted_job_takes_all_that_it_wrote_along(store, add_job):
    add_job()
    store.add_row("ft-1", step=1, split="train", row={})
    store.add_checkpoint("ft-1", step=1, final=True, message="Saved.")
    store.delete_job("ft-1")
    assert (store.job("ft-1"), store.status("ft-1")) == (None, None)
    assert (store.events("ft-1"), store.metrics("ft-1"), store.checkpoints("ft-1")) == ([], [], [])


def test_a_deleted_job_can_write_nothing_more(store, add_job):
    add_job()
    store.delete_job("ft-1")
    store.add_row("ft-1", step=1, split="train", row={})
    store.add_event("ft-1", "job_complete", "late")
    store.add_checkpoint("ft-1", step=1, final=True, message="late")
    assert not store.end_job("ft-1", expected=("running",), to="completed", event="job_complete", message="late")
    assert (store.events("ft-1"), store.metrics("ft-1"), store.checkpoints("ft-1")) == ([], [], [])


def test_a_transaction_that_fails_leaves_nothing(store, add_job):
    add_job()
    with pytest.raises(sqlite3.IntegrityError):
        add_job("ft-1")
    add_job("ft-2")
    assert [job["id"] for job in store.jobs()] == ["ft-2", "ft-1"]


def test_threads_write_at_once_over_connections_of_their_own(store, add_job):
    add_job()

    def write(split):
        for step in range(20):
            store.add_row("ft-1", step=step, split=split, row={})

    threads = [threading.Thread(target=write, args=(f"s{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.metrics("ft-1")) == 80


def test_a_closed_store_can_be_used_again(store, add_job):
    add_job()
    store.close()
    assert store.status("ft-1") == "pending"


def test_a_file_that_we_failed_to_read_may_be_uploaded_again(store):
    record = {
        "id": "file-1", "created_at": 1, "filename": "a.jsonl", "purpose": "fine-tune", "file_type": "jsonl",
        "checksum": "c",
    }  # fmt: skip
    store.add_file(record)
    store.set_file("file-1", status="FAILED")
    assert store.finished_upload("c", "fine-tune") is None
    store.set_file("file-1", status="COMPLETED")
    assert store.finished_upload("c", "fine-tune")["id"] == "file-1"


def test_a_new_server_forgives_the_deaths_of_earlier_workers(store):
    store.add_job("ft-1", output_name="o", config={}, facts={}, idempotency_key=None)
    assert [store.next_job()["attempts"] for _ in range(3)] == [1, 2, 3]
    store.forgive()
    assert store.next_job()["attempts"] == 1


def test_deaths_that_came_further_each_time_do_not_count(store):
    store.add_job("ft-1", output_name="o", config={}, facts={}, idempotency_key=None)
    attempts = []
    for step in (0, 3, 6, 6, 4):
        store.add_row("ft-1", step=step, split="train", row={})
        attempts.append(store.next_job()["attempts"])
    assert attempts == [1, 1, 1, 2, 3]


def test_a_transaction_that_cannot_be_committed_is_undone(store):
    store.add_job("ft-1", output_name="o", config={}, facts={}, idempotency_key=None)
    with pytest.raises(ZeroDivisionError), store._transaction():  # noqa: PT012
        store._db.execute("UPDATE jobs SET status = 'running'")
        _ = 1 / 0
    assert store.status("ft-1") == "pending"
    with pytest.raises(ZeroDivisionError), store._transaction():  # noqa: PT012
        store._db.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        _ = 1 / 0
    store.delete_job("ft-1")


# notes


def test_a_note_is_kept_over_what_it_was(store):
    assert store.note("clock") is None
    for value in ({"speed": 1.5}, {"speed": float("inf"), "list": [None, True]}):
        store.set_note("clock", value)
        assert (store.note("clock"), store.note("another")) == (value, None)


# what a process that died was writing


def test_a_sweep_removes_what_is_unfinished_or_has_no_record_and_is_named_as_ours(store):
    known, gone = "01234567-89ab-cdef-0123-456789abcdef", "fedcba98-89ab-cdef-0123-456789abcdef"
    store.add_file(FILE | {"id": f"file-{known}"})
    store.add_upload(f"upload-{known}", f"file-{known}", size=7, parts=3)
    store.add_job(f"ft-{known}", output_name="local/a", config={}, facts={})
    kept = [
        f"checkpoints/ft-{known}/2.safetensors", "checkpoints/mine/model.part", f"files/file-{known}", "files/file-1",
        "files/mine.part", f"uploads/upload-{known}/1",
    ]  # fmt: skip
    swept = [
        f"checkpoints/ft-{known}/2.safetensors.part", f"checkpoints/ft-{gone}/2.safetensors", f"files/file-{gone}",
        f"files/file-{known}.0a1b2c3d.part", f"uploads/upload-{gone}/1", f"uploads/upload-{known}/2.0a1b2c3d.part",
    ]  # fmt: skip
    for name in kept + swept:
        path = store.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    store.sweep()
    store.sweep_checkpoints()
    left = sorted(path.relative_to(store.folder).as_posix() for path in store.folder.glob("*/**/*") if path.is_file())
    assert left == kept


# uploads in parts


def test_an_upload_knows_the_parts_that_have_come_by_number(store):
    store.add_file(FILE)
    store.add_upload("upload-1", "file-1", size=7, parts=3)
    for number, etag in [(3, "c"), (1, "a"), (3, "d")]:
        store.add_part("upload-1", number, etag)
    assert store.upload("upload-1") == {
        "id": "upload-1", "file": "file-1", "size": 7, "parts": 3, "etags": {1: "a", 3: "d"},
    }  # fmt: skip
    assert list(store.upload("upload-1")["etags"]) == [1, 3]


def test_an_upload_that_has_ended_leaves_nothing_and_takes_no_part(store):
    store.add_file(FILE)
    store.add_upload("upload-1", "file-1", size=7, parts=1)
    store.upload_path("upload-1", 1).parent.mkdir()
    store.upload_path("upload-1", 1).write_bytes(b"x")
    for _ in range(2):
        store.end_upload("upload-1")
        store.add_part("upload-1", 1, "late")
        assert (store.upload("upload-1"), list((store.folder / "uploads").iterdir())) == (None, [])


def test_deleting_a_file_ends_its_upload(store):
    store.add_file(FILE)
    store.add_upload("upload-1", "file-1", size=7, parts=1)
    store.add_part("upload-1", 1, "a")
    store.delete_file("file-1")
    assert store.upload("upload-1") is None


def test_a_file_that_is_not_there_cannot_be_changed(store):
    assert not store.set_file("file-1", status="QUEUED")
    store.add_file(FILE)
    assert store.set_file("file-1", status="QUEUED")


# jobs, by key and in line


def test_a_job_is_found_by_the_key_that_made_it(store, add_job):
    add_job("ft-1", "k")
    assert ((store.job_of_key("k") or {}).get("id"), store.job_of_key("l")) == ("ft-1", None)


def test_unfinished_jobs_are_counted_in_all_and_before_a_job(store, add_job):
    assert store.unfinished() == 0
    states = ["completed", "running", "cancelled", "queued", "uploading", "error", "cancel_requested", "pending"]
    for number, status in enumerate(states):
        add_job(f"ft-{number}")
        store.move_job(f"ft-{number}", expected=("pending",), to=status)
    assert store.unfinished() == 5
    assert [store.ahead(store.job(f"ft-{number}")) for number in range(8)] == [0, 0, 1, 1, 2, 3, 3, 4]


def test_progress_is_counted_from_what_a_job_wrote(store, add_job):
    add_job()
    assert store.progress("ft-1") == {"steps": 0, "evals": 0, "first": None, "last": None, "epochs": 0}
    for step, split in [(1, "train"), (2, "train"), (2, "eval"), (3, "train"), (4, "eval"), (1, "train")]:
        store.add_row("ft-1", step=step, split=split, row={})
    for step in (2, 4, 4):
        store.add_event("ft-1", "epoch_complete", f"Epoch at {step}", step=step)
    times = [row["timestamp"] for row in store.metrics("ft-1")]
    assert store.progress("ft-1") == {
        "steps": 3, "evals": 2, "first": min(times), "last": max(times), "epochs": 2,
    }  # fmt: skip


# the clock


@pytest.fixture
def add_timed(store):
    def add(job_id, queued_at, ready_at):
        store.add_job(job_id, output_name=job_id, config={}, facts={}, queued_at=queued_at, ready_at=ready_at)

    return add


def test_a_job_is_queued_and_then_runs_when_the_clock_says_so(store, add_timed):
    add_timed("ft-1", 5.0, 35.0)
    seen = []
    for now in (4.0, 5.0, 34.0, 35.0):
        found = store.next_job(now)
        seen.append((found and found["id"], store.status("ft-1")))
    assert seen == [(None, "pending"), (None, "queued"), (None, "queued"), ("ft-1", "running")]


def test_a_job_that_is_ready_at_once_is_never_queued(store, add_timed):
    add_timed("ft-1", 5.0, 35.0)
    assert store.next_job(40.0)["status"] == "running"


def test_a_job_that_is_not_ready_is_passed_over(store, add_timed):
    add_timed("ft-1", 5.0, 35.0)
    add_timed("ft-2", 5.0, 6.0)
    assert store.next_job(10.0)["id"] == "ft-2"
    assert [job["status"] for job in store.jobs()] == ["running", "queued"]


@pytest.mark.parametrize("now", [1e9, float("inf")])
def test_a_job_that_is_never_ready_stays_queued(store, add_timed, now):
    add_timed("ft-1", 0.0, None)
    assert (store.next_job(now), store.status("ft-1"), store.next_moment(now)) == (None, "queued", None)


def test_the_next_moment_is_the_next_at_which_a_waiting_job_changes(store, add_timed):
    assert store.next_moment(0.0) is None
    add_timed("ft-1", 5.0, 35.0)
    add_timed("ft-2", 7.0, 20.0)
    add_timed("ft-3", 3.0, None)
    found = []
    for now in (0.0, 3.0, 5.0, 7.0, 20.0, 35.0):
        while store.next_job(now):
            store.move_job("ft-1", expected=("running",), to="completed")
            store.move_job("ft-2", expected=("running",), to="completed")
        found.append(store.next_moment(now))
    assert found == [3.0, 5.0, 7.0, 20.0, 35.0, None]


def test_cancelling_that_a_dead_worker_left_waits_for_no_clock(store, add_timed):
    add_timed("ft-1", 5.0, 35.0)
    store.move_job("ft-1", expected=("pending",), to="cancel_requested")
    assert store.next_job(0.0)["status"] == "cancel_requested"


@pytest.mark.parametrize("status", ["running", "uploading"])
def test_a_job_that_has_begun_waits_for_no_clock(store, add_timed, status):
    add_timed("ft-1", 5.0, 35.0)
    store.next_job()  # at instant speed; the next server goes on at another
    store.move_job("ft-1", expected=("running",), to=status)
    assert (store.next_job(1.0) or {}).get("id") == "ft-1"


# where a job goes on from


def test_a_checkpoint_says_where_to_go_on_from_until_the_final_one(store, add_job):
    add_job()
    facts = []
    for step, final in [(2, False), (4, False), (2, True)]:
        store.add_checkpoint("ft-1", step=step, final=final, message=f"{step} {final}")
        facts.append(store.job("ft-1")["facts"])
    begun = {"model": "m"}
    assert facts == [
        begun | {"resume_step": 2}, begun | {"resume_step": 4}, begun | {"resume_step": 4, "trained": True},
    ]  # fmt: skip


def test_the_tokens_of_a_job_lie_with_its_checkpoints(store):
    assert store.tokenized_path("ft-1").parent == store.checkpoint_path("ft-1", 3).parent
