import csv
import json

import pytest

from preftune import runs

ROWS = [
    {"train/global_step": 1, "train/loss": 0.6931471, "train/reward/accuracy": 0.0, "train/approx. KL/chosen": 0.0},
    {"train/global_step": 2, "train/loss": 0.5, "eval/loss": 0.6},
]


def test_rows_stand_in_a_table(run, answering):
    answering(GET_metrics={"metrics": ROWS})
    assert run("metrics", "ft-1")[1].splitlines() == [
        "  step   split    loss  accuracy  KL chosen  KL rejected  logp chosen  logp rejected",
        "     1   train  0.6931         0          0            -            -              -",
        "     2   train     0.5         -          -            -            -              -",
        "     2    eval     0.6         -          -            -            -              -",
    ]


def test_json_has_the_servers_own_rows(run, answering):
    answering(GET_metrics={"metrics": ROWS})
    assert json.loads(run("metrics", "ft-1", "--json")[1]) == {"version": 1, "job": "ft-1", "metrics": ROWS}


@pytest.mark.parametrize("option", [[], ["--chart"]])
def test_a_job_without_rows_is_told(run, answering, option):
    answering(GET_metrics={"metrics": []})
    assert run("metrics", "ft-1", *option) == (0, "no rows yet\n", "")


def test_the_curves_are_drawn(run, answering):
    answering(GET_metrics={"metrics": ROWS})
    out = run("metrics", "ft-1", "--chart")[1]
    assert out.startswith("loss   o train   x evaluation   · nothing learned\n  0.6931 |o")
    assert "\x1b" not in out


def test_a_terminal_shows_them_in_colour(terminal, preftune_environment, preftune_job):
    code, shown = terminal("metrics", preftune_job.id, "--chart")
    assert (code, "\x1b[38;5;33m━\x1b[0m train" in shown) == (0, True)


def test_rows_are_written_to_be_read_again(run, answering, folder):
    answering(GET_metrics={"metrics": ROWS})
    assert run("metrics", "ft-1", "-o", "rows.jsonl")[1] == "rows.jsonl: 2 rows\n"
    assert runs.wire_rows(runs.load("rows.jsonl")) == ROWS


def test_rows_are_written_as_a_table_for_others(run, answering, folder):
    answering(GET_metrics={"metrics": ROWS})
    assert run("metrics", "ft-1", "-o", "rows.csv")[1] == "rows.csv: 3 rows\n"
    table = list(csv.DictReader((folder / "rows.csv").read_text().splitlines()))
    assert [(row["split"], row["step"], row["loss"], row["kl_rejected"]) for row in table] == [
        ("train", "1", "0.6931471", ""), ("train", "2", "0.5", ""), ("eval", "2", "0.6", ""),
    ]  # fmt: skip


def test_following_goes_on_to_the_end_of_the_job(run, preftune_environment, preftune_job):
    table = run("metrics", preftune_job.id)[1]
    assert run("metrics", preftune_job.id, "--follow")[1] == table
    rows = [json.loads(line) for line in run("metrics", preftune_job.id, "--follow", "--json")[1].splitlines()]
    assert len(rows) == len(table.splitlines()) - 1


def test_following_leaves_no_room_for_pictures_and_files(run):
    code, _, err = run("metrics", "ft-1", "--follow", "--chart")
    assert (code, "--follow prints rows as they come; leave out --chart and --output" in err) == (2, True)
