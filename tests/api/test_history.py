import pytest

from preftune.api import history
from preftune.api.history import Asked, adopt, asked_with, last, look_alikes, without_secrets
from preftune.api.models import FineTuneJob
from preftune.api.steps import Claim, Recorded, Request
from preftune.errors import ConfigError, ConflictError, InternalServerError, NotFoundError

LIST = Request("GET", "/fine-tunes")
BODY = {"model": "m", "n_epochs": 2}
NO_JOB = (
    "last: expected a job that this machine asked this API for, found none in the ledger; "
    "look at client.fine_tuning.list()"
)
BROKEN = [
    {},
    {"event": "asked"},
    {"event": "asked", "key": "k"},
    {"event": "asked", "body": BODY},
    {"event": "asked", "key": "k", "body": None},
    {"event": "created"},
    {"event": "created", "key": "k"},
    {"event": "created", "job": "ft-1"},
    {"event": "adopted", "key": "nobody asked", "job": "ft-1"},
    {"event": "refused"},
    {"key": "k"},
    {"job": "ft-1"},
]


def job(name, **more):
    return {"id": name, "status": "running", **BODY, **more}


def asked(key, *known, body=None):
    return {"event": "asked", "key": key, "body": body or BODY, "known": [*known]}


def ended(key, how, name=""):
    return {"event": how, "key": key} | ({"job": name} if name else {})


def get(name):
    return Request("GET", f"/fine-tunes/{name}")


# entries


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("asked", {"event": "asked", "key": "k", "body": {"model": "m"}, "known": ["ft-1"]}),
        ("created", {"event": "created", "key": "k", "job": "ft-2"}),
        ("refused", {"event": "refused", "key": "k"}),
    ],
)
def test_an_entry_says_what_happened_to_a_call(entry, expected):
    call = Asked("k", {"model": "m"}, ("ft-1",))
    assert call.entry(entry, job="ft-2" if entry == "created" else "") == expected


def test_a_body_is_written_down_without_the_keys_of_other_services():
    assert without_secrets({"model": "m", "wandb_key": "w", "hf_api_token": "h", "wandb_name": "n"}) == {
        "model": "m",
        "wandb_name": "n",
    }


# look_alikes


def test_look_alikes_are_the_jobs_that_a_body_could_have_made_in_the_servers_order():
    jobs = [FineTuneJob(**job("ft-3")), FineTuneJob(**job("ft-2", n_epochs=1)), FineTuneJob(**job("ft-1"))]
    assert look_alikes(BODY, jobs) == ("ft-3", "ft-1")


@pytest.mark.parametrize(
    ("sent", "echoed", "alike"),
    [
        ("max", 32, True),
        ("auto", False, True),
        ({"method": "sft", "train_on_inputs": "auto"}, {"method": "sft", "train_on_inputs": True}, True),
        (False, True, False),
        ("", None, True),
        (None, "x", True),
        (5, None, True),
        (2, 2.0, True),
        (1e-5, 1.00000001e-5, True),
        (1e-5, 1.1e-5, False),
        (1e-5, "1e-5", False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, False),
        ({"a": 1}, "a", False),
        (True, False, False),
    ],
)
def test_a_field_is_alike_when_it_can_be_what_was_sent(sent, echoed, alike):
    found = look_alikes({"field": sent}, [FineTuneJob(id="ft-1", field=echoed)])
    assert found == (("ft-1",) if alike else ())


# adopt


CALL = Asked("k", BODY, ("ft-1",))


def test_the_one_new_job_like_a_call_is_claimed_and_returned(play, notes):
    ledger = notes()
    jobs = [FineTuneJob(**job(name)) for name in ("ft-2", "ft-1")]
    played = play(adopt(CALL, jobs), notes=ledger)
    assert played.result is jobs[0]
    assert played.steps == [Recorded(), Claim("ft-2", ended("k", "adopted", "ft-2"))]
    assert ledger.entries == [ended("k", "adopted", "ft-2")]


def test_a_job_that_another_call_has_is_not_adopted(play, notes):
    ledger = notes(ended("other", "created", "ft-2"))
    played = play(adopt(CALL, [FineTuneJob(**job("ft-2"))]), notes=ledger)
    assert played.result is None
    assert played.steps == [Recorded()]


def test_a_job_that_another_call_claims_first_is_not_adopted():
    flow = adopt(CALL, [FineTuneJob(**job("ft-2"))])
    assert next(flow) == Recorded()
    assert flow.send([]) == Claim("ft-2", ended("k", "adopted", "ft-2"))
    with pytest.raises(StopIteration) as end:
        flow.send(False)
    assert end.value.value is None


def test_of_two_new_jobs_like_a_call_none_is_adopted(play, notes):
    ledger = notes()
    with pytest.raises(ConflictError) as error:
        play(adopt(CALL, [FineTuneJob(**job(name)) for name in ("ft-3", "ft-2", "ft-1")]), notes=ledger)
    assert str(error.value) == (
        "POST /fine-tunes: the answer was lost, and ft-3 and ft-2 both look like this job; cancel the unwanted one"
    )
    assert (error.value.status, ledger.entries) == (409, [])


# what the ConflictError advises: cancel the unwanted one


@pytest.mark.parametrize("status", ["cancelled", "cancel_requested", "CANCELLED"])
def test_of_two_new_jobs_the_one_that_was_not_cancelled_is_adopted(play, notes, status):
    ledger = notes()
    jobs = [FineTuneJob(**job("ft-3", status=status)), FineTuneJob(**job("ft-2"))]
    assert play(adopt(CALL, jobs), notes=ledger).result is jobs[1]
    assert ledger.entries == [ended("k", "adopted", "ft-2")]


@pytest.mark.parametrize("status", ["cancelled", "cancel_requested", "error"])
def test_a_single_new_job_is_adopted_whatever_its_status(play, status):
    jobs = [FineTuneJob(**job("ft-2", status=status))]
    assert play(adopt(CALL, jobs)).result is jobs[0]


def test_new_jobs_that_were_all_cancelled_are_none(play, notes):
    ledger = notes()
    jobs = [FineTuneJob(**job(name, status="cancelled")) for name in ("ft-3", "ft-2")]
    assert (play(adopt(CALL, jobs), notes=ledger).result, ledger.entries) == (None, [])


def test_a_failed_job_is_not_passed_over_for_its_twin(play):
    jobs = [FineTuneJob(**job("ft-3", status="error")), FineTuneJob(**job("ft-2")), FineTuneJob(**job("ft-4"))]
    with pytest.raises(ConflictError, match="ft-3 and ft-2 and ft-4 both"):
        play(adopt(CALL, jobs))


@pytest.mark.parametrize("again", [last, lambda: asked_with("k", BODY)], ids=["last", "asked_with"])
def test_after_the_unwanted_job_was_cancelled_the_other_is_found(play, notes, again):
    ledger, twins = notes(asked("k")), [job("ft-2"), job("ft-1")]
    with pytest.raises(ConflictError, match="ft-2 and ft-1 both look like this job; cancel the unwanted one"):
        play(again(), (LIST, {"data": twins}), notes=ledger)
    twins[0]["status"] = "cancelled"
    assert play(again(), (LIST, {"data": twins}), notes=ledger).result == FineTuneJob(**twins[1])


# last


@pytest.mark.parametrize("how", ["created", "adopted"])
def test_last_returns_the_newest_job_that_was_asked_for(play, notes, how):
    ledger = notes(asked("a"), ended("a", how, "ft-1"), asked("b", "ft-1"), ended("b", how, "ft-2"))
    assert play(last(), (get("ft-2"), job("ft-2")), notes=ledger).result == FineTuneJob(**job("ft-2"))


def test_last_goes_by_when_a_job_was_asked_for_not_by_when_its_answer_came(play, notes):
    ledger = notes(asked("a"), asked("b"), ended("b", "created", "ft-2"), ended("a", "created", "ft-1"))
    assert play(last(), (get("ft-2"), job("ft-2")), notes=ledger).result.id == "ft-2"


def test_last_goes_by_the_last_time_that_a_key_was_used(play, notes):
    past = [asked("a"), ended("a", "refused"), asked("b"), ended("b", "created", "ft-1")]
    ledger = notes(*past, asked("a", "ft-1"), ended("a", "created", "ft-2"))
    assert play(last(), (get("ft-2"), job("ft-2")), notes=ledger).result.id == "ft-2"


def test_last_finds_the_job_of_a_call_that_never_saw_its_answer_once_and_for_all(play, notes):
    ledger = notes(asked("a"), ended("a", "created", "ft-1"), asked("b", "ft-1"))
    answer = {"data": [job("ft-2"), job("ft-1")]}
    assert play(last(), (LIST, answer), notes=ledger).result == FineTuneJob(**job("ft-2"))
    assert ledger.entries[-1] == ended("b", "adopted", "ft-2")
    assert play(last(), (get("ft-2"), job("ft-2")), notes=ledger).result.id == "ft-2"


def test_last_passes_over_what_made_no_job_and_what_is_deleted(play, notes, refused):
    ledger = notes(
        asked("a"),
        ended("a", "created", "ft-1"),
        asked("b", "ft-1"),
        ended("b", "created", "ft-2"),
        asked("c", "ft-1", "ft-2"),
        asked("d", "ft-1", "ft-2"),
        ended("d", "refused"),
    )
    script = [(LIST, {"data": [job("ft-1")]}), (get("ft-2"), refused(404)), (get("ft-1"), job("ft-1"))]
    assert play(last(), *script, notes=ledger).result.id == "ft-1"


def test_last_does_not_pass_over_a_server_that_fails(play, notes, refused):
    ledger = notes(asked("a"), ended("a", "created", "ft-1"))
    with pytest.raises(InternalServerError):
        play(last(), (get("ft-1"), refused(500)), notes=ledger)


@pytest.mark.parametrize("entries", [[], [asked("a"), ended("a", "refused")], [asked("a"), ended("a", "created")]])
def test_last_says_where_to_look_when_there_is_none(play, notes, entries):
    with pytest.raises(ConfigError) as error:
        play(last(), notes=notes(*entries))
    assert str(error.value) == NO_JOB


@pytest.mark.parametrize("entry", BROKEN)
def test_an_entry_that_lacks_something_names_no_job(play, notes, entry):
    with pytest.raises(ConfigError, match="found none in the ledger"):
        play(last(), notes=notes(entry))


@pytest.mark.parametrize("entry", [entry for entry in BROKEN if entry.get("key") != "k" or "job" in entry])
def test_an_entry_that_lacks_something_changes_no_other_call(play, notes, entry):
    ledger = notes(asked("k"), ended("k", "created", "ft-1"), entry)
    assert play(last(), (get("ft-1"), job("ft-1")), notes=ledger).result.id == "ft-1"


def test_an_event_that_is_not_known_yet_is_no_end(play, notes):
    ledger = notes(asked("k"), ended("k", "created", "ft-1"), ended("k", "starred"))
    assert play(last(), (get("ft-1"), job("ft-1")), notes=ledger).result.id == "ft-1"


# list


JOBS = [job(f"ft-{number}") for number in (5, 4, 3, 2, 1)]


def test_list_returns_all_jobs_in_the_servers_order(play):
    played = play(history.list(), (LIST, {"data": JOBS}))
    assert played.result == [FineTuneJob(**one) for one in JOBS]
    assert played.steps == [LIST]


def test_list_of_mine_returns_those_that_this_machine_asked_for_in_the_servers_order(play, notes):
    ledger = notes(
        asked("a"),
        ended("a", "created", "ft-1"),
        asked("b", "ft-1"),
        ended("b", "adopted", "ft-4"),
        asked("c"),
        ended("c", "refused"),
        asked("d"),
        ended("d", "created", "ft-deleted"),
    )
    played = play(history.list(mine=True), (LIST, {"data": JOBS}), notes=ledger)
    assert [one.id for one in played.result] == ["ft-4", "ft-1"]


def test_list_of_mine_has_every_job_that_a_call_without_an_end_may_have_made_and_claims_none(play, notes):
    ledger = notes(asked("a"), ended("a", "created", "ft-2"), asked("b", "ft-1", "ft-2"))
    jobs = [JOBS[0], JOBS[1] | {"n_epochs": 9}, *JOBS[2:]]
    played = play(history.list(mine=True), (LIST, {"data": jobs}), notes=ledger)
    assert [one.id for one in played.result] == ["ft-5", "ft-3", "ft-2"]
    assert len(ledger.entries) == 3


@pytest.mark.parametrize("entries", [[], BROKEN])
def test_list_of_mine_is_empty_where_nothing_was_asked_for(play, notes, entries):
    assert play(history.list(mine=True), (LIST, {"data": JOBS}), notes=notes(*entries)).result == []


# asked_with


def test_a_key_that_was_never_used_has_no_job(play, notes):
    assert play(asked_with("k", BODY), notes=notes(asked("other"))).result is None


def test_a_key_that_was_refused_has_no_job_whatever_was_asked(play, notes):
    ledger = notes(asked("k", body={"model": "other"}), ended("k", "refused"))
    assert play(asked_with("k", BODY), notes=ledger).result is None


def test_a_key_has_the_job_that_it_made(play, notes):
    ledger = notes(asked("k"), ended("k", "created", "ft-1"))
    played = play(asked_with("k", BODY | {"wandb_key": "w"}), (get("ft-1"), job("ft-1")), notes=ledger)
    assert played.result == FineTuneJob(**job("ft-1"))


def test_a_key_whose_job_is_deleted_has_none(play, notes, refused):
    ledger = notes(asked("k"), ended("k", "created", "ft-1"))
    gone = refused(404)
    assert isinstance(gone, NotFoundError)
    assert play(asked_with("k", BODY), (get("ft-1"), gone), notes=ledger).result is None


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"model": "m", "n_epochs": 3}, "n_epochs"),
        ({"model": "m"}, "n_epochs"),
        ({"model": "x", "n_epochs": 2, "suffix": "s"}, "model, suffix"),
    ],
)
def test_a_key_with_another_body_is_refused_by_name(play, notes, body, names):
    with pytest.raises(ConfigError) as error:
        play(asked_with("k", body), notes=notes(asked("k")))
    assert str(error.value) == f"idempotency_key: 'k' was used for a job with another {names}; take another key"
