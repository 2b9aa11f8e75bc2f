import json

import pytest


def test_what_was_trained_is_unpacked_into_a_folder_of_the_jobs_name(run, folder, preftune_environment, preftune_job):
    assert run("download", preftune_job.id) == (0, f"{preftune_job.id}\n", "")
    assert sorted(path.name for path in (folder / preftune_job.id).iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "name"), [(["--checkpoint", "merged"], "model.safetensors"), (["--archive"], ".tar.zst")]
)
def test_the_merged_model_and_the_archive_can_be_had(run, folder, preftune_environment, preftune_job, options, name):
    code, out, _ = run("download", preftune_job.id, "-o", "model", "--json", *options)
    told = json.loads(out)
    assert (code, told["version"], told["job"]) == (0, 1, preftune_job.id)
    assert any(path.name.endswith(name) for path in folder.rglob("*"))


def test_a_step_has_a_folder_of_its_own(run, folder, preftune_environment, preftune_job):
    step = preftune_job.total_steps
    assert run("download", preftune_job.id, "--step", step)[1] == f"{preftune_job.id}-{step}\n"
