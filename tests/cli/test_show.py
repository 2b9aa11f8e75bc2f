import json

import pytest

JOB = {
    "id": "ft-1", "status": "running", "model": "some/model", "created_at": "2026-11-21T08:46:16Z",
    "training_method": {"method": "dpo", "dpo_beta": 0.2, "simpo_gamma": 0, "dpo_reference_free": False},
    "training_type": {"type": "Lora", "lora_r": 8}, "training_file": "file-1", "n_epochs": 2, "learning_rate": 1e-5,
    "steps_completed": 3, "total_steps": 9, "total_price": 1_500_000_000,
}  # fmt: skip


def shown(run, answering, **more):
    answering(GET_=JOB | more)
    code, out, err = run("show", "ft-1")
    assert (code, err) == (0, "")
    return dict(line.split("  ", 1) for line in out.splitlines())


def test_a_job_is_shown_with_what_it_was_asked_for(run, answering):
    told = {name: value.strip() for name, value in shown(run, answering).items()}
    assert told == {
        "job": "ft-1", "status": "running", "model": "some/model", "becomes": "-", "method": "dpo, dpo_beta 0.2",
        "trains": "Lora, lora_r 8", "training file": "file-1", "asked for": "n_epochs 2, learning_rate 1e-05",
        "steps": "3 of 9", "created (UTC)": "2026-11-21 08:46", "started (UTC)": "-", "price": "$1.50",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"status": "queued", "queue_depth": 3}, "queued, 3 before it"),
        (
            {"progress": {"estimate_available": True, "seconds_remaining": 61.4}},
            "running, about 61 s to the next state",
        ),
        ({"status": "error", "events": [{"type": "job_error", "message": "No."}]}, "error: No."),
        ({"status": "completed", "progress": {"estimate_available": True, "seconds_remaining": 5}}, "completed"),
    ],
)
def test_a_status_is_told_with_what_explains_it(run, answering, more, told):
    assert shown(run, answering, **more)["status"].strip() == told


def test_a_job_from_a_checkpoint_names_it_and_its_other_file(run, answering):
    told = shown(run, answering, from_checkpoint="ft-0:5", validation_file="file-2")
    assert (told["from"].strip(), told["validation file"].strip()) == ("ft-0:5", "file-2")


def test_odd_answers_are_shown_as_far_as_they_go(run, answering):
    told = shown(run, answering, training_method="dpo", training_type=None, model=None, n_epochs=None)
    assert (told["method"].strip(), told["trains"].strip(), told["model"].strip()) == ("-", "-", "-")


def test_json_holds_everything_the_server_said(run, answering):
    answering(GET_=JOB | {"new": [1]})
    told = json.loads(run("show", "ft-1", "--json")[1])
    assert (told["version"], told["job"]["id"], told["job"]["new"]) == (1, "ft-1", [1])


def test_without_a_name_it_is_the_last_job_of_this_machine(
    run, preftune_environment, preftune_client, monkeypatch, tmp_path
):
    monkeypatch.setenv("PREFTUNE_STATE_DIR", str(tmp_path))
    code, out, err = run("show")
    assert (code, out) == (2, "")
    assert "name the job: this machine asked this API for none; preftune jobs lists all" in err


def test_a_job_that_is_not_there_is_told_in_terms_of_commands(run, preftune_environment):
    code, _, err = run("show", "ft-none")
    assert (code, err) == (
        2, "preftune: GET /fine-tunes/ft-none: 404, there is no job ft-none; list yours with preftune jobs\n",
    )  # fmt: skip
