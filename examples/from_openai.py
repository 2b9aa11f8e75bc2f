"""A DPO script written for OpenAI's SDK, and the same with preftune: python from_openai.py pairs.jsonl

    from openai import OpenAI                                        import preftune as pt
    client = OpenAI()                                                client = pt.Client()
    client.files.create(file=open(path, "rb"), purpose="fine-tune")  client.files.upload(path)
    client.fine_tuning.jobs.create(                                  client.fine_tuning.create(
        training_file=file.id, model=model,                              training_file=file.id, model=model,
        method={"type": "dpo", "dpo": {                                  training_method="dpo",
            "hyperparameters": {"beta": 0.1, "n_epochs": 2}}})           dpo_beta=0.1, n_epochs=2)
    client.fine_tuning.jobs.retrieve(id)                             client.fine_tuning.retrieve(id), or wait(id)
    client.fine_tuning.jobs.list_events(id)                          client.fine_tuning.list_events(id)

The layout of the file is the same. `beta` is `dpo_beta`; there it is 0 to 2 or "auto", here a number above 0.
"""

import sys

import preftune as pt


def main(path: str) -> None:
    """Train."""
    with pt.Client() as client:
        file = client.files.upload(path)
        job = client.fine_tuning.create(
            training_file=file.id, model="Qwen/Qwen3-8B", training_method="dpo", dpo_beta=0.1, n_epochs=2
        )
        for event in client.fine_tuning.stream_events(job):
            print(event.kind, event.message)
        print(client.fine_tuning.wait(job).model_output_name)


if __name__ == "__main__":
    main(*sys.argv[1:])
