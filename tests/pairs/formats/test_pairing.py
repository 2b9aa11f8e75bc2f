from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import Answer, Ranking
from preftune.pairs.formats.pairing import best_random, best_worst, every, joined, pair_of

USER = {"role": "user", "content": "Q?"}
A, B, C, D = (
    Answer({"role": "assistant", "content": text}, score, {"score": score})
    for text, score in (("a", 3), ("b", 1), ("c", 3), ("d", 1))
)


def ranking(*answers, asked=USER):
    return Ranking([asked], answers)


def test_best_worst_takes_the_first_of_equals():
    assert best_worst(ranking(B, A, C, D)) == [(A, B)]
    assert best_worst(ranking(A, C)) == [(A, A)]


def test_every_pairs_each_two_with_the_better_one_first():
    assert every(ranking(B, A, C)) == [(A, B), (C, B), (A, C)]


def test_best_random_draws_a_lower_answer_by_the_prompt_alone():
    prompts = [{"role": "user", "content": str(number)} for number in range(20)]
    drawn = [best_random(ranking(A, B, D, C, asked=prompt)) for prompt in prompts]
    assert {pairs[0][1].message["content"] for pairs in drawn} == {"b", "d"}
    assert {pairs[0][0].message["content"] for pairs in drawn} == {"a"}
    assert [best_random(ranking(A, B, D, C, asked=prompt)) for prompt in reversed(prompts)] == drawn[::-1]


def test_best_random_gives_equals_where_no_answer_is_lower():
    assert best_random(ranking(A, C)) == [(A, A)]


def test_what_is_known_of_an_answer_becomes_meta_of_its_side():
    tools = [{"type": "function"}]
    told = Ranking([USER], [A, B], tools, {"id": 1})
    pair = pair_of(told, A, B)
    meta = {"id": 1, "score_chosen": 3, "score_rejected": 1}
    assert pair == PreferencePair([USER], A.message, B.message, tools, meta=meta)


def test_rankings_of_one_prompt_are_joined_in_their_order():
    assert joined([ranking(A), ranking(B, C)]) == Ranking([USER], [A, B, C])
