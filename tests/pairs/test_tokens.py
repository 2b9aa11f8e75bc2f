import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import check
from preftune.pairs.rules.catalog import pair_line
from preftune.pairs.tokens import MESSAGE_TOKENS, Budget, budget, estimate_tokens, token_counter

TEXT = "the cat saw the dog"


class Encoding:
    """A tokenizer object whose encode takes what it is given."""

    def __init__(self, **accepted):
        self.accepted = accepted

    def encode(self, text, **given):
        assert given == self.accepted
        return text.split()


class Bare:
    def encode(self, text):
        return text.split()


class Unsigned:
    """A function that cannot say what it takes, as some of those in C cannot."""

    __signature__ = "none"

    def __call__(self, text):
        return text.split()


class Tiktoken:
    """An object that refuses the text of a special token in encode, as tiktoken's does."""

    def encode(self, text, *, allowed_special=(), disallowed_special="all"):
        raise ValueError(text)

    def encode_ordinary(self, text):
        return text.split()


class Tekken:
    """An object shaped as the one within mistral-common's."""

    def encode(self, s, bos, eos):
        return [1] * bos + s.split() + [2] * eos


def mistral(inner):
    """Return an object shaped as mistral-common's tokenizer is."""
    return SimpleNamespace(instruct_tokenizer=SimpleNamespace(tokenizer=inner))


@pytest.fixture
def tokenizer_file(tmp_path):
    """Return the path of a real tokenizer.json, of words, which adds a special token unless asked not to."""
    tokenizers = pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")
    from tokenizers import models, pre_tokenizers, processors

    vocabulary = {word: at for at, word in enumerate(["[UNK]", "[BOS]", "the", "cat", "saw", "dog"])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="[BOS] $A", special_tokens=[("[BOS]", 1)])
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.mark.parametrize(
    "tokenizer",
    [
        lambda text: len(text.split()),
        lambda text: np.int64(len(text.split())),
        str.split,
        lambda text: tuple(text.split()),
        lambda text: np.array(text.split()),
        Encoding(add_special_tokens=False),
        Bare(),
        SimpleNamespace(encode=Unsigned()),
        Tiktoken(),
        Tekken(),
        mistral(Tekken()),
    ],
    ids=[
        "number",
        "numpy",
        "list",
        "tuple",
        "array",
        "object",
        "bare object",
        "unsigned",
        "tiktoken",
        "tekken",
        "mistral",
    ],
)
def test_a_tokenizer_of_any_kind_counts(tokenizer):
    counted = token_counter(tokenizer)(TEXT)
    assert (type(counted), counted) == (int, 5)


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["text", "path"])
def test_a_tokenizer_file_counts_without_its_special_tokens(tokenizer_file, kind):
    assert token_counter(kind(tokenizer_file))(TEXT) == 5
    assert token_counter(kind(tokenizer_file))("") == 0
    assert token_counter(kind(tokenizer_file))("the <|endoftext|> 🙂") > 1


def test_a_tokenizer_object_of_the_package_counts_as_its_file_does(tokenizer_file):
    from tokenizers import Tokenizer

    assert token_counter(Tokenizer.from_file(str(tokenizer_file)))(TEXT) == 5


@pytest.mark.parametrize("as_object", [False, True])
def test_a_tokenizer_file_that_cuts_or_pads_counts_the_whole_text(tokenizer_file, as_object):
    """Many published files are set to cut at 512 tokens: no answer would ever be found too long."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(tokenizer_file))
    made.enable_truncation(3)
    made.enable_padding(length=50)
    made.save(str(tokenizer_file))
    count = token_counter(made if as_object else tokenizer_file)
    assert (count(TEXT), count(TEXT * 100), count("")) == (5, 401, 0)
    assert made.truncation["max_length"] == 3  # the caller's own is left as it was


def test_check_takes_a_tokenizer_file_and_says_that_it_counted(tokenizer_file, write_bytes):
    path = write_bytes(pair_line(TEXT, "the cat", "the dog and more") + b"\n")
    stats = check(path, tokenizer=tokenizer_file).stats
    assert (stats.tokens_per_epoch, stats.tokens_estimated) == (2 * 10 + 7 + 9, False)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"model": 1}', json.dumps({"a": "b"}).encode()])
def test_a_broken_tokenizer_file_is_a_data_error(tmp_path, content):
    pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer='.*tokenizer\.json': expected a tokenizer\.json, found: .*; check"):
        token_counter(path)


@pytest.mark.parametrize("name", ["nothing.json", "."])
def test_a_tokenizer_file_that_is_not_there_is_a_data_error(tmp_path, name):
    pytest.importorskip("tokenizers", reason="the tokenizers package is not installed")
    with pytest.raises(DataError, match=r"expected a tokenizer\.json"):
        token_counter(str(tmp_path / name))


def test_a_tokenizer_file_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(DataError, match="reading it needs a package; pip install tokenizers"):
        token_counter(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("tokenizer", [5, None, b"tokenizer.json", [], object()])
def test_what_is_no_tokenizer_is_a_data_error(tokenizer):
    with pytest.raises(DataError, match=r"expected the path of a tokenizer\.json, a tokenizer object, or a function"):
        token_counter(tokenizer)


@pytest.mark.parametrize(
    ("result", "kind"), [(None, "NoneType"), (1.5, "float"), ({"input_ids": [1]}, "dict"), ("text", "str")]
)
def test_a_function_that_returns_no_count_is_a_data_error(result, kind):
    """The length of a transformers encoding is the number of its keys: it would count 2 tokens in any text."""
    with pytest.raises(DataError, match=f"expected a number or a list of tokens from the function, found {kind}; ret"):
        token_counter(lambda _: result)(TEXT)


@pytest.mark.parametrize(
    ("max_seq_length", "tokens_per_side", "room"),
    [
        (None, None, None),
        (32_768, None, 16_384),
        (32_768, 20_000, 20_000),
        (None, 7, 7),
        (3, None, 1),
        (2, None, 1),
        (1, 7, 7),
    ],
)
def test_the_budget_of_a_side_is_what_is_stated_or_half_of_the_context(max_seq_length, tokens_per_side, room):
    assert budget(None, max_seq_length=max_seq_length, tokens_per_side=tokens_per_side) == Budget(
        estimate_tokens, room, estimated=True
    )
    counted = budget(str.split, max_seq_length=max_seq_length, tokens_per_side=tokens_per_side)
    assert (counted.tokens_per_side, counted.estimated, counted.count(TEXT)) == (room, False, 5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_seq_length": 0}, "max_seq_length=0"),
        ({"tokens_per_side": -5}, "tokens_per_side=-5"),
        ({"max_seq_length": 8, "tokens_per_side": 0}, "tokens_per_side=0"),
    ],
)
def test_a_budget_below_one_token_is_a_data_error(given, told):
    with pytest.raises(DataError, match=f"^{told}: expected a positive number of tokens; give the model's limit$"):
        budget(None, **{"max_seq_length": None, "tokens_per_side": None} | given)


def test_a_context_of_one_token_has_no_half_and_is_a_data_error():
    told = "^max_seq_length=1: expected at least 2, one token for each side; give the model's limit$"
    for tokenizer in (None, str.split):
        with pytest.raises(DataError, match=told):
            budget(tokenizer, max_seq_length=1, tokens_per_side=None)


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ({"role": "user", "content": TEXT}, 5),
        ({"role": "user", "content": [{"type": "text", "text": "the cat "}, {"type": "text", "text": "sat"}]}, 3),
        ({"role": "assistant", "content": None}, 0),
    ],
)
def test_a_message_counts_its_text_and_what_a_template_writes_around_it(message, tokens):
    assert Budget(lambda text: len(text.split())).message(message) == tokens + MESSAGE_TOKENS == tokens + 5


@pytest.mark.parametrize("written", [None, []])
def test_no_tools_have_no_tokens(written):
    assert Budget(len).tools(written) == 0


def test_tools_count_as_the_json_that_a_template_writes():
    assert Budget(len).tools([{"function": {"name": "größe"}}]) == len('[{"function": {"name": "größe"}}]')


def test_a_message_counts_its_tool_calls_with_its_text():
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    said = {"role": "assistant", "content": "the cat", "tool_calls": calls}
    assert Budget(len).message(said) == len("the cat") + len(json.dumps(calls)) + MESSAGE_TOKENS


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a" * 45, 10),  # 4.5 characters a token
        ("ж" * 27, 10),  # 2.7, of two bytes each
        ("中" * 19, 20),  # 0.95, of three
        ("🙂" * 19, 20),  # or four
        ("a" * 45 + "中" * 19, 30),
        ("a" * 45 + "é" * 27, 20),
        ("ж" * 27 + "中" * 19, 30),  # each script by its own measure
        ("\ud800" * 19, 20),  # half a character, as JSON may escape it
    ],
)
def test_an_estimate_goes_by_the_scripts_of_the_text(text, tokens):
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_an_estimate_never_falls_with_more_of_the_same_and_never_exceeds_the_bytes_by_more_than_one(first, second):
    assert 0 <= estimate_tokens(first) <= len(first.encode("utf-8", "surrogatepass")) + 1
    assert estimate_tokens(first * 2) >= estimate_tokens(first)
