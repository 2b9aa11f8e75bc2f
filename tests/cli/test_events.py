import json

EVENTS = [
    {"type": "job_pending", "level": "info", "message": "Made.", "created_at": "2026-11-21T08:46:16Z"},
    {"type": "warning", "level": "warning", "message": "Beware.", "created_at": "2026-11-21T08:46:17Z"},
    {"type": "job_error", "level": "error", "message": "Bro\nken.", "created_at": "soon"},
]


def test_events_stand_in_order_with_what_is_wrong_marked(run, answering):
    answering(GET_events={"data": EVENTS})
    assert run("events", "ft-1")[1].splitlines() == [
        "2026-11-21 08:46:16  job_pending                        Made.",
        "2026-11-21 08:46:17  warning                            Beware.",
        "soon  job_error                          error: Bro?ken.",
    ]


def test_json_has_every_event(run, answering):
    answering(GET_events={"data": EVENTS})
    told = json.loads(run("events", "ft-1", "--json")[1])
    assert (told["version"], told["job"], [one["type"] for one in told["events"]]) == (
        1, "ft-1", ["job_pending", "warning", "job_error"],
    )  # fmt: skip


def test_following_goes_on_to_the_end_of_the_job(run, preftune_environment, preftune_job):
    lines = run("events", preftune_job.id, "--follow")[1].splitlines()
    assert (lines[0].split()[2], lines[-1].split()[2]) == ("job_pending", "job_complete")
    objects = [json.loads(line) for line in run("events", preftune_job.id, "--follow", "--json")[1].splitlines()]
    assert [one["type"] for one in objects] == [line.split()[2] for line in lines]
