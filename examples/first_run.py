"""Check pairs, tune on the chosen answers, tune on the preferences from there, watch, download: without a key.

To run it on the hosted service, set PREFTUNE_API_KEY, drop the LocalServer line and write `client = pt.Client()`.
"""

import json
from pathlib import Path

import preftune as pt

TOPICS = [
    "the parcel",
    "the invoice",
    "the password",
    "the refund",
    "the router",
    "the licence",
    "the order",
    "the app",
]


def row(topic: str, number: int) -> dict[str, object]:
    """Return one preference: a direct answer over an evasive one."""
    good = f"Open Settings, choose {topic}, and press Renew; it takes {number % 5 + 1} minutes."
    poor = f"That depends; {topic} can be a difficult matter, and somebody may look into it some day."
    return {
        "input": {"messages": [{"role": "user", "content": f"Ticket {number}: how do I renew {topic}?"}]},
        "preferred_output": [{"role": "assistant", "content": good}],
        "non_preferred_output": [{"role": "assistant", "content": poor}],
    }


def write(path: Path, numbers: range) -> Path:
    """Write a preference file, one pair a line."""
    path.write_text("".join(json.dumps(row(TOPICS[n % len(TOPICS)], n)) + "\n" for n in numbers), encoding="utf-8")
    return path


def main() -> None:
    """Run the whole flow."""
    train, held_out = write(Path("pairs.jsonl"), range(96)), write(Path("heldout.jsonl"), range(100, 120))
    print(pt.check(train))

    with pt.LocalServer() as server:
        client = pt.Client(base_url=server.url, api_key=server.api_key)

        def show(stage: str, metrics: "pt.runs.MetricRow") -> None:
            if metrics.split == "eval":
                print(f"{stage} step {metrics.step} eval loss {metrics.loss:.3f} accuracy {metrics.accuracy:.0%}")

        done = pt.sft_then_dpo(
            client,
            train,
            model="Qwen/Qwen3-8B",
            validation=held_out,
            sft={"n_epochs": 2},
            dpo={"dpo_beta": 0.1, "n_epochs": 2, "n_evals": 4},
            on_row=show,
        )
        print(pt.diagnose(client.fine_tuning.list_metrics(done.dpo_job)))
        print("adapter in", client.fine_tuning.download(done.dpo_job, to="adapter"))


if __name__ == "__main__":
    main()
