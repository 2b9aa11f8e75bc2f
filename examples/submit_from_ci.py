"""Train from CI, once a commit: python submit_from_ci.py pairs.jsonl heldout.jsonl

The address and the key come from the environment (PREFTUNE_BASE_URL, PREFTUNE_API_KEY). A job is asked for under a key
made from the commit, so a pipeline that is started again on one machine finds its job instead of paying for a second.
Exit code: 0 when the run is healthy, 1 when it is not, 2 when the data or the job is unfit.
"""

import os
import sys

import preftune as pt


def main(train: str, held_out: str) -> int:
    """Check, train, read the curves."""
    try:
        pt.check(train, validation=held_out).raise_for_errors()
        with pt.Client() as client:
            job = client.fine_tuning.create(
                model=os.environ.get("BASE_MODEL", "Qwen/Qwen3-8B"),
                training_file=client.files.upload(train).id,
                validation_file=client.files.upload(held_out).id,
                training_method="dpo",
                dpo_beta=0.1,
                n_evals=4,
                idempotency_key=f"train-{os.environ.get('GITHUB_SHA', 'local')}",
                max_price=20,
            )
            client.fine_tuning.wait(job)
            diagnosis = pt.diagnose(client.fine_tuning.list_metrics(job))
    except pt.errors.PreftuneError as error:
        print(error, file=sys.stderr)
        return 2
    print(job.id)
    print(diagnosis)
    return 0 if diagnosis.verdict == "healthy" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
