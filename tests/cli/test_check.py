import json
import re
import shlex

import pytest


def test_a_clean_file_ends_in_0_and_an_error_in_2_with_line_path_and_mend(run, write, good):
    write(good("1?", "x", "y"), good("2?", "x", "z"))
    code, out, err = run("check", "pairs.jsonl")
    assert (code, err) == (0, "")
    assert out.startswith("pairs.jsonl: 2 pairs, ")
    wrong = [{"role": "user", "content": "b"}]
    write(good("1?"), good("2?", non_preferred_output=wrong))
    code, out, err = run("check", "pairs.jsonl")
    assert (code, err) == (2, "")
    assert "ERROR    output · line 2\n" in out
    assert "non_preferred_output[0].role is 'user'; it must be 'assistant'" in out
    assert out.endswith("The hosted side would refuse this file.\n")


@pytest.mark.parametrize(("strict", "codes"), [([], [0, 0, 2]), (["--strict"], [0, 1, 2])])
def test_warnings_end_in_1_only_when_strict(run, write, good, strict, codes):
    clean = [good(f"{number}?", f"x{number}", f"y{number}") for number in range(120)]
    files = [clean, [*clean, clean[0]], [*clean, clean[0], {}]]
    ended = []
    for rows in files:
        code, out, _ = run("check", write(*rows), "--json", "--sample", "0", *strict)
        ended.append(code)
        assert json.loads(out)["ok"] is (code != 2)
    assert ended == codes


def test_the_report_is_one_json_object_in_ascii(run, write, good):
    write(good("é?"), b"")
    for form in (["--json"], ["--format", "json"], ["--format", "text", "--json"]):
        code, out, _ = run("check", "pairs.jsonl", *form)
        told = json.loads(out)
        assert (code, out.isascii()) == (0, True)
        assert list(told) == ["path", "ok", "pairs", "findings", "stats"]
        assert (told["path"], told["ok"], told["pairs"]) == ("pairs.jsonl", True, 1)
        assert [finding["rule"] for finding in told["findings"] if finding["severity"] == "info"] == ["blank"]


def test_annotations_stand_at_the_file_and_line_of_each_finding(run, folder, good):
    odd = folder / "50%, a:b.jsonl"
    lines = [json.dumps(each) for each in (good("1?"), good("1?"), "x%y\r\nz", {"input": 1, "a,b::c": 2})]
    odd.write_text("\n".join([*lines, '{"input": 1, "input": 2}', ""]), encoding="utf-8")
    code, out, _ = run("check", odd.name, "--format", "github")
    assert code == 2
    *annotations, last = out.splitlines()
    parts = [re.fullmatch(r"::(error|warning|notice) file=([^,:]*)(?:,line=(\d+))?,title=([^,:]*)::(.*)", each)
             for each in annotations]  # fmt: skip
    assert all(parts)
    assert {part[2] for part in parts} == {"50%25%2C a%3Ab.jsonl"}
    assert {(part[1], part[3], part[4]) for part in parts} >= {
        ("warning", "2", "preftune duplicate"),
        ("error", "3", "preftune line"),
        ("error", "4", "preftune keys"),
        ("error", "5", "preftune line"),
    }
    assert [part[5] for part in parts if part[3] == "2"] == [
        "the same pair as line 1; drop it, or give the first a larger weight"
    ]
    assert last.startswith("50%, a:b.jsonl: ")
    assert last.endswith(". The hosted side would refuse this file.")


def test_an_annotation_of_the_whole_file_has_no_line_and_per_cent_signs_are_escaped(run, write, good):
    rows = [good(f"What of {number}?", f"It is {number}. " * 9, f"No {number}.") for number in range(150)]
    _, out, _ = run("check", write(*rows), "--format", "github")
    (bias,) = [line for line in out.splitlines() if "length-bias" in line]
    assert bias.startswith(
        "::warning file=pairs.jsonl,title=preftune length-bias::the chosen answer is the longer one in 100.0%25 of"
    )


def test_five_lines_at_most_are_annotated_for_one_finding(run, write):
    _, out, _ = run("check", write(*[{}] * 9), "--format", "github")
    lines = re.findall(r"line=(\d+),title=preftune keys::input is missing", out)
    assert lines == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("name", ["pairs.jsonl", "my 'own' pairs.jsonl", "sub/x.y.jsonl"])
@pytest.mark.parametrize("begin", ["", "[\n"])
def test_the_command_that_converts_another_layout_works_as_it_is_pasted(run, folder, name, begin):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    end = "\n]" if begin else ""
    path.write_text(begin + '{"prompt": "p", "chosen": "a", "rejected": "b"}' + end, encoding="utf-8")
    code, out, _ = run("check", name, "--json")
    _, _, command = json.loads(out)["findings"][0]["hint"].partition(": preftune ")
    words = shlex.split(command)
    assert code == 2
    assert words[:2] == ["convert", name]
    assert run(*words)[0] == 0
    assert run("check", words[2])[0] == 0
    assert run("check", name)[1].endswith(f"\n\nTo convert it:\npreftune {command}\n")


def test_options_reach_the_rules(run, write, good):
    long = good("1?", "word " * 200, "b")
    name, other = write(long, good("2?")), write(good("2?", "x", "y"), name="held.jsonl")

    def rules(*options):
        return {finding["rule"] for finding in json.loads(run("check", name, "--json", *options)[1])["findings"]}

    before = rules()
    assert "truncation" in rules("--tokens-per-side", "50") - before
    assert "truncation" in rules("--max-seq-length", "100") - before
    assert "truncation" not in rules("--max-seq-length", "100", "--sample", "0")
    assert "leakage" in rules("--validation", other) - before
    assert rules("--workers", "2") == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--validation", "absent.jsonl"], "absent.jsonl: expected a file, found nothing there"),
        (["--tokenizer", "absent.json"], "expected a tokenizer.json, found"),
        (["--sample", "-1"], "-1 is not in the range x>=0"),
        (["--workers", "0"], "0 is not in the range x>=1"),
        (["--max-seq-length", "0"], "0 is not in the range x>=1"),
        (["--format", "xml"], "'xml' is not one of 'text', 'json', 'github'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_words(run, write, good, options, sentence):
    code, out, err = run("check", write(good()), *options)
    assert (code, out) == (2, "")
    assert sentence in err


def test_another_extension_is_refused_with_the_command_that_converts(run, write, good):
    code, out, err = run("check", write(good(), name="pairs.json"))
    assert (code, out) == (2, "")
    assert err == (
        "preftune: pairs.json: expected a .jsonl file, found '.json'; convert it: "
        "preftune convert pairs.json pairs.pairs.jsonl\n"
    )


def test_a_terminal_shows_colours_and_lines_that_fit_and_a_pipe_shows_the_same_without(
    terminal, piped, plain, write, good
):
    rows = [good(f"What of {number}?", f"**It** is {number}. " * 9, f"No {number}") for number in range(150)]
    write(*rows, rows[0], good("Q?", "a", "a"), b"{")
    code, shown = terminal("check", "pairs.jsonl")
    assert code == 2
    assert "\x1b[1;31mERROR" in shown
    assert "\x1b[1;33mWARNING" in shown
    assert max(map(len, plain(shown).splitlines())) <= 80
    code, out, err = piped("check", "pairs.jsonl")
    assert (code, err) == (2, b"")
    assert b"\x1b" not in out
    assert [line.rstrip() for line in plain(shown).splitlines()] == out.decode().splitlines()


def test_a_command_on_a_file_that_is_to_be_renamed_first_is_left_in_its_hint(run, folder):
    (folder / "pairs.jsonl").write_bytes(b"\x1f\x8b\x08\x00")
    _, out, _ = run("check", "pairs.jsonl")
    assert "preftune convert pairs.jsonl.gz pairs.jsonl" in " ".join(out.split())
    assert "To convert it:" not in out


def test_a_proposed_command_is_one_line_of_a_terminal_and_stands_there_once(terminal, plain, write, folder):
    path = folder / "a-folder-with-a-name-that-does-not-fit-on-a-line-beside-the-command"
    path.mkdir()
    trl = {"prompt": "p", "chosen": "a", "rejected": "b"}
    (folder / write(trl, trl, {})).rename(path / "pairs.jsonl")
    _, shown = terminal("check", f"{path.name}/pairs.jsonl")
    command = f"preftune convert {path.name}/pairs.jsonl pairs.pairs.jsonl --from trl"
    assert plain(shown).endswith(f" refuse this file.\n\nTo convert it:\n{command}\n")
    assert plain(shown).count(command) == 1


@pytest.mark.real
def test_a_real_set_is_shown_within_80_columns(run, terminal, plain, real_data, folder):
    run("convert", real_data / "llamafactory" / "dpo_en.json", "pairs.jsonl")
    code, shown = terminal("check", "pairs.jsonl")
    assert code == 0
    assert max(map(len, plain(shown).splitlines())) <= 80
    assert "WARNING  duplicate · 5 times (1.7%), lines 158, 187, 231, 249, 276" in plain(shown)
