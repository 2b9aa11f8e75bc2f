import json

import pytest


@pytest.mark.parametrize(
    ("count", "options", "method", "title"),
    [
        (10, [], "sft", "SFT: train on the answers you have"),
        (120, [], "sft-then-dpo", "SFT on the chosen answers, then DPO from its checkpoint"),
        (120, ["--needs-sft"], "sft-then-dpo", "SFT on the chosen answers, then DPO from its checkpoint"),
        (120, ["--works"], "dpo", "DPO on what you have"),
    ],
)
def test_each_advice_is_told_in_words_and_as_json(run, write, good, count, options, method, title):
    name = write(*[good(f"What of {number}?", f"It is {number}.", f"It was {number}.") for number in range(count)])
    code, out, err = run("advise", name, *options)
    assert (code, out.splitlines()[0], err) == (0, title, "")
    assert max(map(len, out.splitlines())) <= 80
    told = json.loads(run("advise", name, *options, "--json")[1])
    assert (told["method"], told["first"]) == (method, [])


def test_a_file_without_a_pair_is_refused_with_a_hint_that_can_be_pasted(run, write):
    code, out, err = run("advise", write({"prompt": "p", "chosen": "a", "rejected": "b"}))
    assert (code, out) == (2, "")
    assert "preftune convert pairs.jsonl pairs.pairs.jsonl --from trl" in err


def test_a_supervised_file_is_for_sft(run, write):
    rows = [{"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]}] * 3
    code, out, err = run("advise", write(*rows))
    assert (code, out.splitlines()[0], err) == (0, "SFT: train on the answers you have", "")
    assert json.loads(run("advise", "pairs.jsonl", "--json")[1])["method"] == "sft"
