import re

import pytest

from preftune.pairs.formats.layout import Answer, Ranking, Unfit

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
A, B, C = ({"role": "assistant", "content": text} for text in "abc")
ULTRA = {
    "instruction": "Q?", "source": "x",
    "completions": [
        {"model": "m", "response": "a", "overall_score": 8.5, "fine-grained_score": 2},
        {"response": "b", "overall_score": 0, "fine-grained_score": None},
    ],
}  # fmt: skip
DISTILABEL = {
    "prompt": "Q?",
    "generations": ["a", "b", "c"],
    "ratings": [5, None, 0],
    "generation_models": ["m", "n", "o"],
}
HELPSTEER = {
    "prompt": "Q?", "response": "a", "helpfulness": 0, "correctness": 4, "coherence": 3, "complexity": 2,
    "verbosity": 1,
}  # fmt: skip
STEERLM = {
    "text": "<extra_id_0>System\ns\n<extra_id_1>User\nQ?\n<extra_id_1>Assistant\na\n<extra_id_2>",
    "label": [-100.0, -100.0, -100.0, -100.0, 4.0, 3.0, 2.0, 1.0, 0.0],
}
NEMO_RL = {
    "context": [USER],
    "completions": [{"rank": 0, "completion": [A]}, {"rank": 1, "completion": [B]}, {"rank": None, "completion": [C]}],
}
NECTAR = {
    "prompt": "\n\nHuman: Q?\n\nAssistant: ",
    "answers": [{"answer": "a", "model": "m", "rank": 1.0}, {"answer": "b", "rank": 2.0}],
}
RM_BENCH = {"id": 1, "prompt": "Q?", "chosen": ["a", "b"], "rejected": ["c"]}


@pytest.mark.parametrize(
    ("name", "label", "row", "ranking"),
    [
        ("ultrafeedback", "overall_score", ULTRA,
         Ranking([USER], [Answer(A, 8.5, {"score": 8.5, "model": "m"}), Answer(B, None)], meta={"source": "x"})),
        ("ultrafeedback", "fine-grained_score", ULTRA,
         Ranking([USER], [Answer(A, 2, {"score": 2, "model": "m"}), Answer(B, None)], meta={"source": "x"})),
        ("distilabel", None, DISTILABEL,
         Ranking([USER], [Answer(A, 5, {"score": 5, "model": "m"}), Answer(B, None, {"model": "n"}),
                          Answer(C, None, {"model": "o"})])),
        ("distilabel", None,
         {"instruction": "Q?", "prompt": "P", "system_prompt": "s", "generations": ["a"], "ratings": [1]},
         Ranking([SYSTEM, USER], [Answer(A, 1, {"score": 1})], meta={"prompt": "P"})),
        ("helpsteer2", "helpfulness", HELPSTEER,
         Ranking([USER], [Answer(A, 0, {
             "score": 0, "correctness": 4, "coherence": 3, "complexity": 2, "verbosity": 1,
         })])),
        ("steerlm", "helpfulness", STEERLM | {"id": 1},
         Ranking([SYSTEM, USER], [Answer(A, 4.0, {"score": 4.0, "id": 1})])),
        ("steerlm", "verbosity", STEERLM, Ranking([SYSTEM, USER], [Answer(A, 0.0, {"score": 0.0})])),
        ("steerlm", "humor", STEERLM, Ranking([SYSTEM, USER], [Answer(A, None)])),
        ("nemo-rl", None, NEMO_RL | {"task": "t"},
         Ranking([USER], [Answer(A, 0, {"rank": 0}), Answer(B, -1, {"rank": 1}), Answer(C, None)], meta={"task": "t"})),
        ("nectar", None, NECTAR,
         Ranking([USER], [Answer(A, -1.0, {"model": "m", "rank": 1.0}), Answer(B, -2.0, {"rank": 2.0})])),
        ("nectar", None, {"prompt": "Q?", "answers": [{"answer": "a", "rank": 1}]},
         Ranking([USER], [Answer(A, -1, {"rank": 1})])),
        ("rm-bench", None, RM_BENCH, Ranking([USER], [Answer(A, 1), Answer(B, 1), Answer(C, 0)], meta={"id": 1})),
    ],
)  # fmt: skip
def test_several_answers_are_read_in_the_order_of_the_file(layouts, name, label, row, ranking):
    assert layouts[name].matches(row)
    read = layouts[name].read if label is None else layouts[name].read[label]
    assert read(row) == ranking


def test_labels_are_the_ratings_of_a_row(layouts):
    helpsteer = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    assert layouts["helpsteer2"].labels == helpsteer
    assert layouts["steerlm"].labels == ("quality", "toxicity", "humor", "creativity", *helpsteer)
    assert layouts["ultrafeedback"].labels == ("overall_score", "fine-grained_score")


LENGTHS = "generations and ratings are no two lists of one length; expected a rating for each generation"


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("ultrafeedback", ULTRA | {"completions": []}, "completions is a list; expected a list of objects"),
        (
            "ultrafeedback",
            ULTRA | {"completions": [{"response": 1}]},
            "completions[0].response is a number; expected text",
        ),
        (
            "ultrafeedback",
            ULTRA | {"completions": [{"response": "a", "overall_score": "N/A"}]},
            "completions[0].overall_score is 'N/A'; expected a number",
        ),
        ("distilabel", DISTILABEL | {"ratings": [5]}, LENGTHS),
        ("distilabel", DISTILABEL | {"generations": "a"}, LENGTHS),
        ("distilabel", DISTILABEL | {"ratings": None}, LENGTHS),
        ("distilabel", DISTILABEL | {"ratings": [1, 2, "3"]}, "ratings[2] is '3'; expected a number"),
        ("distilabel", DISTILABEL | {"generations": ["a", None, "c"]}, "generations[1] is null; expected text"),
        ("helpsteer2", HELPSTEER | {"helpfulness": True}, "helpfulness is true; expected a number"),
        ("steerlm", STEERLM | {"text": "a"}, "text is one turn alone; expected a conversation that ends in an answer"),
        ("steerlm", STEERLM | {"label": [1]}, "label is a list; expected a list of 9 numbers"),
        ("nemo-rl", NEMO_RL | {"context": "Q?"}, "context is text; expected a list of messages"),
        (
            "nemo-rl",
            NEMO_RL | {"completions": [{"rank": 0, "completion": [A, B]}]},
            "completions[0].completion holds 2 messages; expected exactly one, as the hosted side takes",
        ),
        (
            "nemo-rl",
            NEMO_RL | {"completions": [{"rank": "0", "completion": [A]}]},
            "completions[0].rank is '0'; expected a number",
        ),
        ("nectar", NECTAR | {"answers": [{"rank": 0}]}, "answers[0].answer is missing; expected text"),
        ("rm-bench", RM_BENCH | {"rejected": "c"}, "rejected is text; expected a list of texts"),
    ],
)
def test_what_is_no_ranking_is_refused(layouts, name, row, reason):
    labels = layouts[name].labels
    read = (
        layouts[name].read["overall_score" if name == "ultrafeedback" else "helpfulness"]
        if labels
        else layouts[name].read
    )
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        read(row)


def test_models_that_do_not_fit_the_generations_are_left_out(layouts):
    ranking = layouts["distilabel"].read(DISTILABEL | {"generation_models": ["m"]})
    assert [answer.extra for answer in ranking.answers] == [{"score": 5}, {}, {}]
