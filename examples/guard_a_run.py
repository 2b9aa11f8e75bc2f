"""Cancel a run that goes wrong, before it is paid for to its end: python guard_a_run.py pairs.jsonl heldout.jsonl"""

import sys
from collections.abc import Sequence

import preftune as pt

KL_LIMIT = 500.0  # nats; diagnose calls more than that drift


def goes_wrong(rows: Sequence[pt.runs.MetricRow]) -> str | None:
    """Say why the job is to be cancelled, or nothing; it is asked after each row, with all rows so far."""
    last = rows[-1]
    if last.kl_chosen is not None and last.kl_chosen > KL_LIMIT:
        return f"KL is {last.kl_chosen:.0f} nats"
    losses = [row.loss for row in rows if row.split == "eval" and row.loss is not None]
    if losses and losses[-1] > 1.2 * min(losses):
        return f"evaluation loss rose from {min(losses):.3f} to {losses[-1]:.3f}"
    return None


def main(train: str, held_out: str, learning_rate: str = "1e-5") -> None:
    """Train under guard."""
    with pt.Client() as client:
        job = client.fine_tuning.create(
            model="Qwen/Qwen3-8B",
            training_file=client.files.upload(train).id,
            validation_file=client.files.upload(held_out).id,
            training_method="dpo",
            n_epochs=3,
            n_evals=12,
            learning_rate=float(learning_rate),
        )
        try:
            for row in client.fine_tuning.stream_metrics(job, cancel_if=goes_wrong):
                if row.split == "eval" and row.loss is not None:
                    print(f"step {row.step}: evaluation loss {row.loss:.3f}")
        except pt.errors.JobFailedError as stopped:
            print(stopped)


if __name__ == "__main__":
    main(*sys.argv[1:])
