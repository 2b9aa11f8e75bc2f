"""A script for the `together` SDK, and the same with preftune: python from_together.py pairs.jsonl

from together import Together                                    import preftune as pt
client = Together()                                              client = pt.Client()   # TOGETHER_API_KEY is read too
client.files.upload(file=path, check=True)                       client.files.upload(path, check=True)
client.fine_tuning.create(training_file=..., lora=True, ...)     ... training_type="Lora"
client.fine_tuning.list_events(id).data                          client.fine_tuning.list_events(id)   # a list
while client.fine_tuning.retrieve(id).status != "completed":     client.fine_tuning.wait(id)
    time.sleep(60)
client.fine_tuning.download(id, output="adapter")                client.fine_tuning.download(id, to="adapter")
"""

import sys

import preftune as pt


def main(path: str) -> None:
    """Train."""
    client = pt.Client()
    file = client.files.upload(path, check=True)
    job = client.fine_tuning.create(
        training_file=file.id,
        model="Qwen/Qwen3-8B",
        training_method="dpo",
        dpo_beta=0.2,
        n_epochs=1,
        n_checkpoints=1,
        training_type="Lora",
        suffix="migrated",
    )
    job = client.fine_tuning.wait(job.id)
    for event in client.fine_tuning.list_events(job.id):
        print(event.type, event.message)
    print(client.fine_tuning.download(job.id, to="adapter"))
    client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
