"""Write the demo data: `train.jsonl` and `heldout.jsonl`, beside this file.

Every row is a preference pair from the support desk of a made-up company. The preferred answer is
direct and concrete; the other one, on the same topic, is evasive or padded. A new user fine-tunes on
the training part and measures on the held-out part whether the model took on the style.

The data keeps these laws, which `tests/recipes/test_demo_data.py` checks:

- the two parts share no topic, no question and no answer sentence;
- the length of an answer does not tell which side it is on;
- no single word, nor a digit or a punctuation mark, gives the side away;
- prompts and answers do not repeat;
- one fixed seed, so the same bytes on every run.

Run it with `python -m preftune.recipes.demo_data.make` after a change to one of the text banks.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from preftune.recipes.demo_data import _heldout_bank, _train_bank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

SEED = 20240611
TRAIN_PAIRS = 300
HELDOUT_PAIRS = 80
MIN_CHARS = 60
MAX_CHARS = 320

GREETING_SHARE = 0.25
CLOSING_SHARE = 0.5
SYSTEM_SHARE = 0.2
HISTORY_SHARE = 0.1
DRAWS = 120
REUSE_PENALTY = 8
DODGE_SHAPES = ("d", "dd", "dh", "df", "sd", "ddf", "ddh", "dff", "dhf", "sdf", "sdd", "sdh", "ddff", "sddf", "sdhf")

Row = dict[str, Any]
Sentences = tuple[str, ...]


class Topic(NamedTuple):
    """Hold one subject customers ask about, with its questions and sentences for both sides."""

    name: str
    about: str
    questions: Sentences
    answers: Sentences
    facts: Sentences
    dodges: Sentences


class Bank(NamedTuple):
    """Hold all text that one part of the data is put together from."""

    systems: Sentences
    frames: Sentences
    histories: tuple[tuple[str, str], ...]
    greetings: Sentences
    closings: Sentences
    sympathies: Sentences
    hedges: Sentences
    deferrals: Sentences
    topics: tuple[Topic, ...]


def read_bank(module: ModuleType) -> Bank:
    """Read a bank from the module that holds its text."""
    return Bank(
        systems=module.SYSTEMS,
        frames=module.FRAMES,
        histories=module.HISTORIES,
        greetings=module.GREETINGS,
        closings=module.CLOSINGS,
        sympathies=module.SYMPATHIES,
        hedges=module.HEDGES,
        deferrals=module.DEFERRALS,
        topics=tuple(_read_topic(block) for block in module.TOPICS.strip().split("\n\n")),
    )


def _read_topic(block: str) -> Topic:
    title, *lines = block.splitlines()
    name, about = title.split(" / ")

    def marked(mark: str) -> Sentences:
        return tuple(line.removeprefix(f"{mark} ") for line in lines if line.startswith(f"{mark} "))

    return Topic(name, about, marked("?"), marked("+"), marked("&"), marked("-"))


TRAIN_BANK = read_bank(_train_bank)
HELDOUT_BANK = read_bank(_heldout_bank)


class _Writer:
    """Put rows together from one bank without repeating a prompt or an answer."""

    def __init__(self, bank: Bank, rng: random.Random) -> None:
        self.bank = bank
        self.rng = rng
        self.uses: Counter[str] = Counter()
        self.written: set[str] = set()

    def rows(self, count: int) -> list[Row]:
        lengths = self._target_lengths()
        rows = [self._row(topic, *next(lengths)) for topic in islice(cycle(self.bank.topics), count)]
        self.rng.shuffle(rows)
        return rows

    def _target_lengths(self) -> Iterator[tuple[int, int]]:
        """Yield each couple of target lengths twice, the second time swapped."""
        while True:
            one = self.rng.randint(MIN_CHARS, MAX_CHARS)
            other = self.rng.randint(MIN_CHARS, MAX_CHARS)
            yield one, other
            yield other, one

    def _row(self, topic: Topic, preferred_chars: int, non_preferred_chars: int) -> Row:
        preferred = self._fitting(self._concrete, topic, preferred_chars)
        non_preferred = self._fitting(self._evasive, topic, non_preferred_chars)
        return {
            "input": {"messages": self._prompt(topic)},
            "preferred_output": [{"role": "assistant", "content": self._fill(" ".join(preferred), topic)}],
            "non_preferred_output": [{"role": "assistant", "content": self._fill(" ".join(non_preferred), topic)}],
        }

    def _concrete(self, topic: Topic) -> Sentences:
        return (
            *self._some(self.bank.greetings, self.rng.random() < GREETING_SHARE),
            *self._some(topic.answers),
            *self._some(topic.facts, self.rng.randint(0, 3)),
            *self._some(self.bank.closings, self.rng.random() < CLOSING_SHARE),
        )

    def _evasive(self, topic: Topic) -> Sentences:
        shape = self.rng.choice(DODGE_SHAPES)
        return (
            *self._some(self.bank.sympathies, shape.count("s")),
            *self._some(topic.dodges, shape.count("d")),
            *self._some(self.bank.hedges, shape.count("h")),
            *self._some(self.bank.deferrals, shape.count("f")),
        )

    def _some(self, sentences: Sentences, count: int = 1) -> list[str]:
        return self.rng.sample(sentences, count)

    def _fitting(self, draw: Callable[[Topic], Sentences], topic: Topic, chars: int) -> Sentences:
        """Choose, of many drawn answers, the one nearest in length whose sentences were used least."""
        drawn = [draw(topic) for _ in range(DRAWS)]
        fresh = [one for one in drawn if " ".join(one) not in self.written and _fits(one, topic)]
        best = min(fresh, key=lambda one: abs(_chars(one, topic) - chars) + REUSE_PENALTY * self._mean_uses(one))
        self.written.add(" ".join(best))
        self.uses.update(best)
        return best

    def _mean_uses(self, sentences: Sentences) -> float:
        return sum(self.uses[sentence] for sentence in sentences) / len(sentences)

    def _prompt(self, topic: Topic) -> list[dict[str, str]]:
        messages = self._lead_in(topic)
        plain = bool(messages) and messages[-1]["role"] == "assistant"
        frames = ("{question}",) if plain else self.bank.frames
        asked = [(frame, question) for frame in frames for question in topic.questions]
        self.rng.shuffle(asked)
        frame, question = min(asked, key=lambda pair: 10 * self._was_asked(*pair) + self.uses[pair[1]])
        self.uses[question] += 1
        self.uses[f"{frame} {question}"] += 1
        messages.append({"role": "user", "content": self._fill(frame.replace("{question}", question), topic)})
        return messages

    def _was_asked(self, frame: str, question: str) -> int:
        return self.uses[f"{frame} {question}"]

    def _lead_in(self, topic: Topic) -> list[dict[str, str]]:
        messages = []
        if self.rng.random() < SYSTEM_SHARE:
            messages.append({"role": "system", "content": self.rng.choice(self.bank.systems)})
        if self.rng.random() < HISTORY_SHARE:
            opening, reply = self.rng.choice(self.bank.histories)
            messages.append({"role": "user", "content": self._fill(opening, topic)})
            messages.append({"role": "assistant", "content": reply})
        return messages

    def _fill(self, text: str, topic: Topic) -> str:
        return text.format(
            about=topic.about,
            ticket=self.rng.randint(20000, 89999),
            year=self.rng.randint(2016, 2024),
        )


def _chars(sentences: Sentences, topic: Topic) -> int:
    return len(" ".join(sentences).format(about=topic.about, ticket="00000"))


def _fits(sentences: Sentences, topic: Topic) -> bool:
    return MIN_CHARS <= _chars(sentences, topic) <= MAX_CHARS


def build() -> tuple[list[Row], list[Row]]:
    """Build the rows of the training part and of the held-out part."""
    rng = random.Random(SEED)
    return _Writer(TRAIN_BANK, rng).rows(TRAIN_PAIRS), _Writer(HELDOUT_BANK, rng).rows(HELDOUT_PAIRS)


def to_jsonl(rows: list[Row]) -> str:
    """Render rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Write both files beside this module."""
    folder = Path(__file__).parent
    train, heldout = build()
    (folder / "train.jsonl").write_text(to_jsonl(train), encoding="utf-8", newline="\n")
    (folder / "heldout.jsonl").write_text(to_jsonl(heldout), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
