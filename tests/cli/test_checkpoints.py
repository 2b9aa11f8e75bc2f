import json


def test_the_checkpoints_of_a_job_stand_in_a_table(run, preftune_environment, preftune_job):
    lines = [line.split()[:2] for line in run("checkpoints", preftune_job.id)[1].splitlines()]
    assert lines[:3] == [
        ["step", "holds"],
        [str(preftune_job.total_steps), "model"],
        [str(preftune_job.total_steps), "adapter"],
    ]


def test_json_has_every_checkpoint(run, preftune_environment, preftune_job):
    told = json.loads(run("checkpoints", preftune_job.id, "--json")[1])
    assert (told["version"], told["job"]) == (1, preftune_job.id)
    assert {"step", "checkpoint", "checkpoint_type", "created_at"} < told["checkpoints"][0].keys()


def test_a_job_without_any_is_told(run, answering):
    answering(GET_checkpoints={"data": []})
    assert run("checkpoints", "ft-1") == (0, "ft-1 has no checkpoint yet\n", "")
