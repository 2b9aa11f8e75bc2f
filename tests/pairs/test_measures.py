import json
from dataclasses import fields

import numpy as np
import pytest

from preftune.charts import Histogram
from preftune.pairs import Stats, check, convert
from preftune.pairs.measures import Lengths
from preftune.pairs.rules.style import FEATURES


def row(prompt, chosen, rejected, **answer):
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen, **answer}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def words(text):
    return len(text.split())


@pytest.fixture
def stats(write_rows):
    """Return the numbers of four pairs, two of them the same, and one of identical answers."""
    rows = [
        row("Q one?", "- a list", "no"),
        row("Q two?", "yes", "surely not"),
        row("Q two?", "yes", "surely not"),
        row("Q?", "Same.", "same."),
    ]
    return check(write_rows(*rows), tokenizer=words).stats


def test_stats_count_what_stands_in_the_file(stats, tmp_path):
    assert (stats.bytes, stats.lines, stats.pairs) == ((tmp_path / "pairs.jsonl").stat().st_size, 4, 4)
    assert (stats.duplicates, stats.identical, stats.sampled, stats.turns) == (1, 1, 4, 1.0)


def test_stats_give_the_lengths_of_each_part(stats):
    assert stats.prompt == Lengths(mean=5.0, p10=pytest.approx(3.2), median=6.0, p90=6.0, longest=6)
    assert stats.chosen == Lengths(mean=4.75, p10=3.0, median=4.0, p90=pytest.approx(7.1), longest=8)
    assert stats.rejected == Lengths(mean=6.75, p10=pytest.approx(2.9), median=7.5, p90=10.0, longest=10)


def test_stats_tell_how_the_sides_differ(stats):
    assert stats.chosen_longer == pytest.approx(1 / 3)
    assert stats.chosen_longer_z == pytest.approx(-1 / 3**0.5)
    assert stats.length_ratio == pytest.approx(19 / 27)
    assert stats.length_auc == pytest.approx((2 + 1 + 1 + 1.5) / 16)  # 8, 3, 3 and 5 over 2, 10, 10 and 5
    shares = {"markdown": 0.25, "a list": 0.25, "an affirming opener": 0.5}
    assert stats.features == {name: (shares.get(name, 0.0), 0.0) for name in FEATURES}


def test_stats_count_the_tokens_of_an_epoch(stats):
    contexts = (2 + 5) * 3 + (1 + 5)
    assert stats.tokens_per_epoch == 2 * contexts + (3 + 1 + 1 + 1 + 4 * 5) + (1 + 2 + 2 + 1 + 4 * 5)
    assert not stats.tokens_estimated


def test_the_tokens_of_many_pairs_follow_from_those_of_the_first_500_in_the_sample(write_rows):
    rows = [row(f"Question {number:04}?", "yes it is", "no it is not") for number in range(700)]
    counted = []
    stats = check(write_rows(*rows), tokenizer=lambda text: counted.append(text) or words(text)).stats
    assert stats.tokens_per_epoch == 700 * (2 * (2 + 5) + 3 + 5 + 4 + 5)
    assert len(counted) == 3 * 500


def test_the_tokens_of_a_file_follow_from_those_of_its_sample(write_rows):
    rows = [row(f"Question {number:03}?", "yes it is", "no it is not") for number in range(300)]
    stats = check(write_rows(*rows), tokenizer=words, sample=20).stats
    assert (stats.sampled, stats.tokens_per_epoch) == (20, 300 * (14 + 8 + 9))


def test_the_histogram_counts_every_answer_once(stats):
    assert (stats.histogram.title, stats.histogram.unit) == ("answer length", "characters, on a log scale")
    assert (stats.histogram.edges[0], stats.histogram.edges[-1]) == (2, 11)
    assert {name: sum(counts) for name, counts in stats.histogram.counts.items()} == {"chosen": 4, "rejected": 4}
    assert len(stats.histogram.edges) == len(stats.histogram.counts["chosen"]) + 1 == 25


@pytest.mark.parametrize(("chosen", "rejected"), [("a", "b"), ("a" * 100_000, "b"), ("a" * 7, "b" * 7)])
def test_the_histogram_of_any_lengths_loses_no_answer(write_rows, chosen, rejected):
    histogram = check(write_rows(row("Q?", chosen, rejected))).stats.histogram
    assert {name: sum(counts) for name, counts in histogram.counts.items()} == {"chosen": 1, "rejected": 1}
    assert np.all(np.diff(histogram.edges) > 0)


def test_answers_without_text_are_measured_as_such(write_rows):
    call = {"tool_calls": [{"function": {"name": "f"}}]}
    value = row("", None, None, **call)
    value["non_preferred_output"][0] |= {"tool_calls": [{"function": {"name": "g"}}]}
    value["input"]["tools"] = [{"function": {"name": name}} for name in "fg"]
    report = check(write_rows(value))
    assert (report.pairs, report.ok, report.stats.length_ratio, report.stats.chosen_longer) == (1, True, None, 0.5)
    assert "mean length ratio" not in str(report)


def test_stats_without_a_sample_have_the_counts_alone(write_rows):
    path = write_rows(row("Q?", "yes", "no"), row("Q?", "yes", "no"))
    assert check(path, sample=0).stats == Stats(path.stat().st_size, 2, 2, 1, 0)


def test_stats_without_a_sample_say_so_by_none():
    stats = Stats(0, 0, 0, 0, 0)
    assert {field.name for field in fields(stats) if getattr(stats, field.name) is None} == {
        "turns", "prompt", "chosen", "rejected", "chosen_longer", "chosen_longer_z", "length_ratio", "length_auc",
        "features", "tokens_per_epoch", "histogram",
    }  # fmt: skip
    assert stats.price(5.0) is None
    assert str(stats) == (
        "pairs                 0 in 0 lines, 0 bytes\n"
        "repeats               0 exact duplicates, 0 with identical answers"
    )


def test_the_price_is_that_of_all_tokens_of_all_epochs():
    stats = Stats(1, 1, 1, 0, 0, tokens_per_epoch=2_500_000)
    assert stats.price(4.0) == 10.0
    assert stats.price(4.0, epochs=3) == 30.0
    assert stats.price(0) == 0.0


def test_stats_are_plain_values_for_json(stats):
    values = stats.to_dict()
    assert values.keys() == {field.name for field in fields(Stats)}
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["features"] == {name: [chosen, rejected] for name, (chosen, rejected) in stats.features.items()}
    assert Stats(1, 1, 1, 0, 0).to_dict()["features"] is None
    assert values["chosen"] == {"mean": 4.75, "p10": 3.0, "median": 4.0, "p90": stats.chosen.p90, "longest": 8}
    assert Histogram(**values["histogram"]) == stats.histogram


def test_stats_are_told_in_lines(stats):
    assert str(stats) == (
        f"pairs                 4 in 4 lines, {stats.bytes} bytes\n"
        "repeats               1 exact duplicate, 1 with identical answers\n"
        "measured              4 pairs\n"
        "messages a context    1.0 on average\n"
        "prompt, characters    10% 3, median 6, 90% 6, longest 6\n"
        "chosen, characters    10% 3, median 4, 90% 7, longest 8\n"
        "rejected, characters  10% 3, median 8, 90% 10, longest 10\n"
        "chosen longer         33.3% of pairs (z -0.6, AUC 0.34)\n"
        "markdown              25% of chosen, 0% of rejected answers\n"
        "a list                25% of chosen, 0% of rejected answers\n"
        "bold text             0% of chosen, 0% of rejected answers\n"
        "code                  0% of chosen, 0% of rejected answers\n"
        "an emoji              0% of chosen, 0% of rejected answers\n"
        "a link                0% of chosen, 0% of rejected answers\n"
        "an exclamation mark   0% of chosen, 0% of rejected answers\n"
        "a refusing opener     0% of chosen, 0% of rejected answers\n"
        "an affirming opener   50% of chosen, 0% of rejected answers\n"
        "tokens an epoch       about 106 (your tokenizer; a prompt counts with each answer)"
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("sources", "pairs", "duplicates", "identical", "longer", "z", "ratio", "markdown"),
    [
        (["llamafactory/dpo_en.json"], 300, 5, 0, 43.8, -2.1, 0.94, (49, 47)),
        (["llamafactory/dpo_zh.json"], 300, 11, 0, 62.4, 4.3, 1.25, (41, 30)),
        (["llmbar/*.json"], 419, 0, 1, 27.1, -9.4, 0.47, (12, 27)),
        (["medicalgpt/dpo_zh.jsonl"], 500, 0, 0, 57.8, 3.5, 1.22, (40, 30)),
    ],
    ids=["English", "Chinese", "LLMBar", "medical"],
)
def test_the_reference_figures_of_real_sets_are_reproduced(
    real_data, tmp_path, sources, pairs, duplicates, identical, longer, z, ratio, markdown
):
    lines = []
    for source in sorted(path for pattern in sources for path in real_data.glob(pattern)):
        convert(source, tmp_path / "part.jsonl")
        lines.append((tmp_path / "part.jsonl").read_bytes())
    (tmp_path / "pairs.jsonl").write_bytes(b"".join(lines))
    report = check(tmp_path / "pairs.jsonl")
    stats = report.stats
    assert (stats.pairs, stats.lines, stats.sampled, stats.duplicates, stats.identical) == (
        pairs, pairs, pairs, duplicates, identical,
    )  # fmt: skip
    assert (round(100 * stats.chosen_longer, 1), round(stats.chosen_longer_z, 1)) == (longer, z)
    assert round(stats.length_ratio, 2) == ratio
    assert [100 * share for share in stats.features["markdown"]] == [pytest.approx(share, abs=2) for share in markdown]
    assert report.ok  # no empty answer, nothing else that the hosted side would refuse
