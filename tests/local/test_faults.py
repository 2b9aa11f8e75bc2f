import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from preftune.errors import LocalServerError
from preftune.local.faults import ACTIONS, FILE_FAULTS, JOB_FAULTS, METHODS, Fault, Faults, parse

GRAMMAR = (
    "write 'POST /fine-tunes 500 once', 'GET */metrics 429 retry-after=2 every 3', 'PUT /storage/* drop', "
    "'GET /files slow=0.5', or 'job-error at step 5'"
)
KINDS = "job-error, user_error, refund, early-stop, stuck-queued, invalid-format"


def read(rule):
    """Return what a rule says, as plain values."""
    return {name: value for name, value in vars(parse(rule)).items() if name != "text"}


def fault(**said):
    return {name: value for name, value in vars(Fault("", "")).items() if name != "text"} | said


def hits(rule, count, *, method="GET", path="/v1/files"):
    """Return which of so many requests a rule acts on, counted from 1."""
    faults = Faults()
    faults.add(rule)
    return [number for number in range(1, count + 1) if faults.of_request(method, path)]


# the grammar


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("POST /fine-tunes 500 once", {"method": "POST", "path": "/fine-tunes", "action": "500", "times": 1}),
        (
            "GET */metrics 429 retry-after=2 every 3",
            {"method": "GET", "path": "*/metrics", "action": "429", "retry_after": 2.0, "every": 3},
        ),
        ("PUT /storage/* drop", {"method": "PUT", "path": "/storage/*", "action": "drop"}),
        ("GET /files slow=0.5", {"method": "GET", "path": "/files", "action": "slow", "amount": 0.5}),
        ("/files slow", {"path": "/files", "action": "slow", "amount": 1.0}),
        ("/files slow=0", {"path": "/files", "action": "slow", "amount": 0.0}),
        ("* /files lose", {"path": "/files", "action": "lose"}),
        ("* * 599", {"path": "*", "action": "599"}),
        ("* 400", {"path": "*", "action": "400"}),
        ("* truncate", {"path": "*", "action": "truncate"}),
        ("* truncate=10", {"path": "*", "action": "truncate", "amount": 10.0}),
        ("get /files 503 retry-after=0", {"method": "GET", "path": "/files", "action": "503", "retry_after": 0.0}),
        ("DELETE /v1/files/* drop", {"method": "DELETE", "path": "/files/*", "action": "drop"}),
        ("  /v1/v1/files \t drop ", {"path": "/files", "action": "drop"}),
        ("/x 500 every 2 times 3", {"path": "/x", "action": "500", "every": 2, "times": 3}),
        ("job-error", {"action": "job-error"}),
        ("job-error at step 5 once", {"action": "job-error", "step": 5, "times": 1}),
        ("user_error at step 2 times 4", {"action": "user_error", "step": 2, "times": 4}),
        ("refund every 2", {"action": "refund", "every": 2}),
        ("early-stop at step 999999999", {"action": "early-stop", "step": 999_999_999}),
        ("stuck-queued once", {"action": "stuck-queued", "times": 1}),
        ("invalid-format once", {"action": "invalid-format", "times": 1}),
    ],
)
def test_a_rule_says_whom_it_is_for_what_it_does_and_how_often(rule, said):
    assert read(rule) == fault(**said)
    assert parse(rule).text == rule


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("action", sorted((*ACTIONS, "404")))
def test_every_method_goes_with_every_action(method, action):
    amount = 1.0 if action == "slow" else None
    assert read(f"{method} /x {action}") == fault(method=method, path="/x", action=action, amount=amount)


@pytest.mark.parametrize("kind", sorted(JOB_FAULTS + FILE_FAULTS))
def test_a_fault_of_jobs_or_files_has_neither_method_nor_path(kind):
    assert read(kind) == fault(action=kind)
    with pytest.raises(LocalServerError, match=rf"expected a path after POST, found '{kind}'; write"):
        parse(f"POST {kind}")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("", "expected what is to happen, found nothing"),
        ("   ", "expected what is to happen, found nothing"),
        ("POST", "expected what is to happen, found nothing"),
        ("POST /files", "expected what is to happen, found nothing"),
        ("once", f"expected a path that begins with / or *, or one of {KINDS}, found 'once'"),
        ("fine-tunes 500", f"expected a path that begins with / or *, or one of {KINDS}, found 'fine-tunes'"),
        ("FETCH /x 500", f"expected a path that begins with / or *, or one of {KINDS}, found 'FETCH'"),
        ("POST files 500", f"expected a path that begins with / or *, or one of {KINDS}, found 'files'"),
        ("POST /x 200", "expected a status from 400 to 599, drop, lose, truncate, slow, found '200'"),
        ("POST /x 600", "expected a status from 400 to 599, drop, lose, truncate, slow, found '600'"),
        ("POST /x 5000", "expected a status from 400 to 599, drop, lose, truncate, slow, found '5000'"),
        ("POST /x once", "expected a status from 400 to 599, drop, lose, truncate, slow, found 'once'"),
        ("* job-error", "expected a status from 400 to 599, drop, lose, truncate, slow, found 'job-error'"),
        ("POST /x 500=3", "500 takes no amount, found '500=3'"),
        ("POST /x drop=", "drop takes no amount, found 'drop='"),
        ("POST /x lose=3", "lose takes no amount, found 'lose=3'"),
        ("job-error=3", "job-error takes no amount, found 'job-error=3'"),
        ("/x slow=", "expected a number of at least 0 after slow=, found ''"),
        ("/x slow=soon", "expected a number of at least 0 after slow=, found 'soon'"),
        ("/x slow=nan", "expected a number of at least 0 after slow=, found 'nan'"),
        ("/x truncate=-1", "expected a number of at least 0 after truncate=, found '-1'"),
        ("/x 429 retry-after=inf", "expected a number of at least 0 after retry-after=, found 'inf'"),
        ("/x drop retry-after=1", "'retry-after=1' does not fit after drop"),
        ("job-error retry-after=1", "'retry-after=1' does not fit after job-error"),
        ("/x 500 twice", "'twice' does not fit after 500"),
        ("/x 500 503", "'503' does not fit after 500"),
        ("/x 500 at step 3", "'at' does not fit after 500"),
        ("/x 500 times", "expected a whole number of at least 1 after times, found ''"),
        ("/x 500 times once", "expected a whole number of at least 1 after times, found 'once'"),
        ("/x 500 times 0", "expected a whole number of at least 1 after times, found '0'"),
        ("/x 500 times 1.5", "expected a whole number of at least 1 after times, found '1.5'"),
        ("/x 500 every", "expected a whole number of at least 1 after every, found ''"),
        ("/x 500 every ²", "expected a whole number of at least 1 after every, found '²'"),
        ("/x 500 every 1000000000", "expected a whole number of at least 1 after every, found '1000000000'"),
        ("job-error at", "'at' does not fit after job-error"),
        ("job-error at 5", "'at' does not fit after job-error"),
        ("job-error step 5", "'step' does not fit after job-error"),
        ("job-error at step", "expected a whole number of at least 1 after at step, found ''"),
        ("job-error at step 0", "expected a whole number of at least 1 after at step, found '0'"),
        ("stuck-queued at step 3", "'at' does not fit after stuck-queued"),
        ("invalid-format at step 3", "'at' does not fit after invalid-format"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_by_a_sentence_that_names_the_word(rule, reason):
    with pytest.raises(LocalServerError) as error:
        Faults().add(rule)
    assert str(error.value) == f"fault {rule!r}: {reason}; {GRAMMAR}"


def test_a_number_of_thousands_of_digits_is_refused_like_any_other_word():
    with pytest.raises(LocalServerError, match="expected a whole number of at least 1 after times, found '999"):
        parse("/x 500 times " + 5000 * "9")


def test_a_rule_that_is_refused_is_not_added():
    faults = Faults()
    with pytest.raises(LocalServerError):
        faults.add("POST")
    assert list(faults) == []


@pytest.mark.parametrize(("rule", "status"), [("/x 503", 503), ("/x drop", None), ("job-error", None)])
def test_only_a_rule_that_answers_has_a_status(rule, status):
    assert parse(rule).status == status


# how often


@pytest.mark.parametrize(
    ("often", "numbers"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("once", [1]),
        ("times 1", [1]),
        ("times 3", [1, 2, 3]),
        ("every 1", [1, 2, 3, 4, 5, 6, 7]),
        ("every 3", [3, 6]),
        ("every 3 once", [3]),
        ("times 2 every 2", [2, 4]),
        ("every 8", []),
    ],
)
def test_a_rule_acts_as_often_as_it_says(often, numbers):
    assert hits(f"/files 500 {often}", 7) == numbers


def test_a_rule_counts_what_it_was_asked_about_and_what_it_acted_on():
    faults = Faults()
    rule = faults.add("GET /files 500 every 2 times 2")
    for method, path in itertools.product(("GET", "POST"), 7 * ["/files"] + ["/fine-tunes"]):
        faults.of_request(method, path)
    assert (rule.asked, rule.acted) == (7, 2)


# which requests


@pytest.mark.parametrize(
    ("rule", "method", "path", "acts"),
    [
        ("GET /files 500", "GET", "/v1/files", True),
        ("GET /files 500", "GET", "/v1/v1/files", True),
        ("GET /v1/files 500", "GET", "/v1/v1/files", True),
        ("GET /v1/v1/files 500", "GET", "/v1/files", True),
        ("GET /files 500", "GET", "/files", True),
        ("GET /files 500", "POST", "/v1/files", False),
        ("GET /files 500", "GET", "/v1/files/file-1", False),
        ("GET /files 500", "GET", "/v1/FILES", False),
        ("GET /files/* 500", "GET", "/v1/files/file-1", True),
        ("GET /files/* 500", "GET", "/v1/files/file-1/content", True),
        ("GET /files/* 500", "GET", "/v1/files", False),
        ("GET */metrics 500", "GET", "/v1/fine-tunes/ft-1/metrics", True),
        ("GET */metrics 500", "GET", "/v1/fine-tunes/ft-1/events", False),
        ("* /files 500", "DELETE", "/v1/files", True),
        ("/files 500", "HEAD", "/v1/files", True),
        ("* 500", "PUT", "/storage/files/file-1", True),
        ("/storage/* 500", "PUT", "/storage/parts/upload-1/2", True),
        ("/v3/whoami 500", "GET", "/v3/whoami", True),
        ("/openapi.json 500", "GET", "/openapi.json", True),
        ("job-error", "POST", "/v1/fine-tunes", False),
        ("invalid-format", "POST", "/v1/files", False),
    ],
)
def test_a_rule_acts_on_the_requests_of_its_method_and_path_wherever_the_routes_stand(rule, method, path, acts):
    assert hits(rule, 1, method=method, path=path) == ([1] if acts else [])


def test_the_first_rule_that_is_due_acts_and_the_later_ones_are_not_asked():
    faults = Faults()
    rules = [faults.add(rule) for rule in ("/files 500 every 2", "/files 503 once", "* drop")]
    acted = [faults.of_request("GET", "/v1/files").action for _ in range(4)]
    assert acted == ["503", "500", "drop", "500"]
    assert [(rule.asked, rule.acted) for rule in rules] == [(4, 2), (2, 1), (1, 1)]


# jobs and files


def test_a_job_takes_every_fault_that_is_due_with_its_step():
    faults = Faults()
    for rule in ("job-error at step 5 once", "early-stop at step 3 every 2", "* 500", "invalid-format"):
        faults.add(rule)
    assert [faults.of_job() for _ in range(3)] == [{"job-error": 5}, {"early-stop": 3}, {}]


def test_a_file_takes_only_the_faults_of_files():
    faults = Faults()
    for rule in ("job-error", "invalid-format times 2", "* 500"):
        faults.add(rule)
    assert [faults.of_file() for _ in range(3)] == [{"invalid-format": 1}, {"invalid-format": 1}, {}]


def test_of_two_rules_for_the_same_fault_each_job_takes_the_first_that_is_due():
    faults = Faults()
    for rule in ("job-error at step 2 once", "job-error at step 5 once"):
        faults.add(rule)
    assert [faults.of_job() for _ in range(3)] == [{"job-error": 2}, {"job-error": 5}, {}]


# while a server runs


def test_rules_are_added_looked_at_and_taken_away():
    faults = Faults()
    first, second = faults.add("/files 500"), faults.add("/files 500")
    assert list(faults) == [first, second]
    faults.remove(first)
    faults.remove(first)
    assert list(faults) == [second]
    faults.clear()
    assert list(faults) == []
    assert faults.of_request("GET", "/files") is None


def test_a_rule_may_be_taken_away_while_the_rules_are_gone_through():
    faults = Faults()
    for rule in ("/a 500", "/b 500", "/c 500"):
        faults.add(rule)
    for rule in faults:
        faults.remove(rule)
    assert list(faults) == []


def test_threads_that_ask_at_once_see_each_rule_act_as_often_as_it_says():
    faults, start = Faults(), threading.Barrier(8)
    rules = [faults.add("/files 500 times 100"), faults.add("/files 503 every 7")]

    def ask():
        start.wait()
        found = [faults.of_request("GET", "/v1/files") for _ in range(500)]
        return Counter(rule.action if rule else "none" for rule in found)

    with ThreadPoolExecutor(8) as pool:
        seen = sum((each.result() for each in [pool.submit(ask) for _ in range(8)]), Counter())
    assert seen == {"500": 100, "503": 3900 // 7, "none": 3900 - 3900 // 7}
    assert [(rule.asked, rule.acted) for rule in rules] == [(4000, 100), (3900, 3900 // 7)]


def test_threads_may_add_and_remove_rules_while_others_ask():
    faults, over = Faults(), threading.Event()

    def change():
        for _ in range(300):
            faults.remove(faults.add("/files 500"))

    def ask():
        while not over.is_set():
            assert getattr(faults.of_request("GET", "/v1/files"), "action", "500") == "500"

    with ThreadPoolExecutor(6) as pool:
        asking, changing = ([pool.submit(work) for _ in range(3)] for work in (ask, change))
        for each in changing:
            each.result()
        over.set()
        for each in asking:
            each.result()
    assert list(faults) == []


@pytest.mark.parametrize("path", ["/files/a?", "/files/[ab]", "/files/a.c"])
def test_nothing_but_a_star_stands_for_anything(path):
    faults = Faults()
    faults.add(f"GET {path} 500")
    assert [faults.of_request("GET", one) is not None for one in ("/files/ab", "/files/a", "/files/abc", path)] == [
        False, False, False, True,
    ]  # fmt: skip


def test_a_rule_of_files_waits_until_it_has_acted_as_often_as_it_may():
    faults = Faults()
    assert not faults.awaits_file()
    faults.add("job-error")
    faults.add("invalid-format once")
    assert (faults.awaits_file(), faults.of_file(), faults.awaits_file()) == (True, {"invalid-format": 1}, False)
