import json


def test_fix_tells_the_changes_and_what_is_left(run, folder, write, good):
    write(good("1?", "x", "y"), good("2?", "a", "a"), b"", good("3?", "v", "w", id=1))
    code, out, err = run("fix", "pairs.jsonl", "fixed.jsonl", "--log", "changes.jsonl")
    assert (code, err) == (0, "")
    told, _, report = out.partition("\n\n")
    assert told == (
        "fixed.jsonl: 2 lines written, 2 left out\n"
        "        1  a pair whose answers are the same was left out (identical)\n"
        "        1  a blank line was left out (blank)\n"
        "        1  the unknown key 'id' was removed (keys)"
    )
    assert report.startswith("fixed.jsonl: 2 pairs, ")
    changes = [json.loads(line) for line in (folder / "changes.jsonl").read_bytes().splitlines()]
    assert [(change["line"], change["rule"]) for change in changes] == [(2, "identical"), (3, "blank"), (4, "keys")]


def test_an_error_that_is_left_ends_in_2_and_a_warning_in_0(run, write, good):
    for rows, ended in [([good(), good("1?", "a", "A")], 0), ([good(), b"{"], 2), ([b""], 2)]:
        code, out, err = run("fix", write(*rows), "fixed.jsonl")
        assert (code, err) == (ended, "")
        assert ("The hosted side would refuse this file." in out) is (ended == 2)


def test_the_changes_and_what_is_left_are_one_json_object(run, write, good):
    write(good(), b"", b"{")
    code, out, _ = run("fix", "pairs.jsonl", "fixed.jsonl", "--json")
    told = json.loads(out)
    assert code == 2
    assert list(told) == ["fixed", "left"]
    assert told["fixed"] == {
        "path": "fixed.jsonl",
        "lines": 2,
        "dropped": 1,
        "changes": [
            {
                "rule": "blank", "severity": "info", "count": 1, "lines": [2], "path": "",
                "message": "a blank line was left out", "hint": "a blank line was left out", "fixable": True,
                "refused": False,
            }
        ],
    }  # fmt: skip
    assert [(found["rule"], found["lines"]) for found in told["left"]["findings"] if found["severity"] == "error"] == [
        ("line", [2])
    ]


def test_a_file_of_another_kind_is_refused_with_what_to_do(run, folder, write):
    write(b"[", b'{"a": 1}', b"]")
    code, out, err = run("fix", "pairs.jsonl", "fixed.jsonl")
    assert (code, out) == (2, "")
    assert err == (
        "preftune: pairs.jsonl: the file is one JSON list; it must hold one object a line; convert it: "
        "preftune convert pairs.jsonl pairs.pairs.jsonl\n"
    )
    assert not (folder / "fixed.jsonl").exists()


def test_a_log_that_is_the_target_is_refused(run, folder, write, good):
    write(good())
    code, _, err = run("fix", "pairs.jsonl", "fixed.jsonl", "--log", "fixed.jsonl")
    assert (code, "expected a file of its own" in err, (folder / "fixed.jsonl").exists()) == (2, True, False)
