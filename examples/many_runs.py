"""Several values of dpo_beta at once, and which was best: python many_runs.py pairs.jsonl heldout.jsonl"""

import asyncio
import sys

import preftune as pt

BETAS = (0.05, 0.1, 0.3)


async def train(client: pt.AsyncClient, beta: float, train_file: str, held_out: str) -> pt.runs.Run:
    """Train one run and return it with all that is known of it."""
    job = await client.fine_tuning.create(
        model="Qwen/Qwen3-8B",
        training_file=train_file,
        validation_file=held_out,
        training_method="dpo",
        dpo_beta=beta,
        n_evals=4,
        suffix=f"beta-{beta:g}",
    )
    await client.fine_tuning.wait(job)
    return await client.run(pt.runs.fetch(job))


async def main(train_path: str, held_out_path: str) -> None:
    """Upload once, train all, compare."""
    async with pt.AsyncClient() as client:
        files = await asyncio.gather(*(client.files.upload(path) for path in (train_path, held_out_path)))
        ids = [file.id for file in files]
        runs = await asyncio.gather(*(train(client, beta, *ids) for beta in BETAS))
    print(pt.runs.compare(runs))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
