import pytest

from preftune import errors, runs
from preftune.api.models import metric_rows

RAW = [
    {"timestamp": 1, "train/global_step": 1, "train/loss": 0.69, "train/unknown": 5},
    {"timestamp": 2, "train/global_step": 1, "eval/loss": 0.68},
    {"timestamp": 3, "train/global_step": 2, "train/loss": 0.6, "eval/loss": 0.61},
]


def test_rows_come_back_as_they_were_saved(tmp_path):
    rows = [row for raw in RAW for row in metric_rows(raw)]
    assert runs.save(rows, tmp_path / "rows.jsonl") == 3
    assert runs.load(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize("document", ['{"rows": [%s]}', '{"metrics": [%s]}', "[%s]", "%s"])
def test_documents_of_the_server_are_read_too(tmp_path, document):
    path = tmp_path / "rows.json"
    path.write_text(document % '{"train/global_step": 4, "train/loss": 0.5}')
    assert [(row.step, row.loss) for row in runs.load(path)] == [(4, 0.5)]


@pytest.mark.parametrize("text", ["[1, 2]", "no rows", '"text"'])
def test_what_is_no_rows_is_said_plainly(tmp_path, text):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(errors.DataError, match="expected rows of metrics"):
        runs.load(path)


def test_a_missing_file_is_said_plainly(tmp_path):
    with pytest.raises(errors.DataError, match="cannot be read, No such file or directory; check the path"):
        runs.load(tmp_path / "none.jsonl")


def test_a_line_separator_within_a_text_is_no_end_of_line(tmp_path):
    rows = metric_rows({"train/global_step": 1, "train/loss": 0.5, "note": "a\u2028b"})
    runs.save(rows, tmp_path / "rows.jsonl")
    assert runs.load(tmp_path / "rows.jsonl") == rows


def test_a_table_comes_back_with_the_same_values(tmp_path):
    rows = [row for raw in RAW for row in metric_rows(raw)]
    runs.save(rows, tmp_path / "rows.csv")
    back = runs.load(tmp_path / "rows.csv")
    assert [(row.split, row.step, row.loss, row.accuracy) for row in back] == [
        (row.split, row.step, row.loss, None) for row in rows
    ]


def test_another_table_is_said_plainly(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(errors.DataError, match="found a table without the columns split and step"):
        runs.load(tmp_path / "rows.csv")


def test_rows_become_a_frame_with_the_columns_of_the_table():
    frame = runs.to_pandas([row for raw in RAW for row in metric_rows(raw)])
    assert list(frame.columns[:4]) == ["split", "step", "epoch", "loss"]
    assert frame[frame.split == "eval"].loss.tolist() == [0.68, 0.61]
    assert runs.to_pandas([]).empty
