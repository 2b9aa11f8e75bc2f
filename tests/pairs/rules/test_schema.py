import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import Finding, check
from preftune.pairs.formats.table import LAYOUTS
from preftune.pairs.rules import schema
from preftune.pairs.rules.schema import check_row

PNG = "data:image/png;base64,AAAA"


def user(content="Which is the capital of France?", **more):
    return {"role": "user", "content": content, **more}


def assistant(content="Paris.", **more):
    return {"role": "assistant", "content": content, **more}


def system(content="Be brief."):
    return {"role": "system", "content": content}


def tool(content="18 degrees"):
    return {"role": "tool", "content": content}


def row(*messages, chosen=None, rejected=None, given=None, **top):
    return {
        "input": {"messages": list(messages) or [user()], **(given or {})},
        "preferred_output": [chosen or assistant()],
        "non_preferred_output": [rejected or assistant("Rome.")],
        **top,
    }


def without(key, **top):
    return {name: value for name, value in row(**top).items() if name != key}


def replaced(**top):
    return row() | top


def text(*texts):
    return [{"type": "text", "text": each} for each in texts]


def image(url=PNG):
    return {"type": "image_url", "image_url": {"url": url}}


def call(name="weather", arguments='{"city": "Rome"}'):
    return {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


def refused(rule, path, message, hint):
    return Finding(rule, "error", 1, (2,), path, message, hint, fixable=False, refused=True)


def said(rule, severity, path, message, hint, *, fixable=False):
    return Finding(rule, severity, 1, (2,), path, message, hint, fixable=fixable, refused=False)


@pytest.fixture
def findings(write_rows):
    """Return what check says of a good row followed by the given one."""
    return lambda bad: check(write_rows(row(user("Before?")), bad), sample=0).findings


ALL_KEYS = "each row needs input, preferred_output, non_preferred_output"
UNKNOWN_KEY = "remove it: the hosted side may refuse unknown keys"
SUPERVISED = "it has one answer and nothing to prefer it to; a preference file holds preference rows alone"
ROLES = "it must be one of system, user, assistant, tool"
TEXT = "it must be text or content parts"
ONE = "it must be a list of exactly one message"
EMPTY = "drop the pair, or write the answer"
DECLARE = 'write {"type": "function", "function": {"name": ..., "parameters": ...}}'


def test_mixed_names_the_command_that_converts_a_row_of_any_known_layout():
    rows = [(layout, row) for layout in LAYOUTS for row in layout.example if layout.name != "together"]
    told = [(layout.name, [(problem.rule, problem.hint) for problem in check_row(row)]) for layout, row in rows]
    assert told == [
        (layout.name, [("mixed", f"convert the file: preftune convert FILE pairs.jsonl --from {layout.name}")])
        for layout, _ in rows
    ]


@pytest.mark.parametrize(
    ("bad", "title", "name"),
    [
        (
            {"prompt": "p", "chosen": "a", "rejected": "b"},
            "TRL, OpenRLHF, NeMo-RL binary, Axolotl implicit",
            "trl",
        ),
        ({"input": "i", "output_1": "a", "output_2": "b", "label": 1}, "LLMBar", "llmbar"),
        (
            {"conversations": [], "chosen": {}, "rejected": {}},
            "ShareGPT ranking (LLaMA-Factory, MedicalGPT)",
            "sharegpt",
        ),
    ],
)
def test_mixed_says_which_format_a_foreign_row_is_in(findings, bad, title, name):
    hint = f"convert the file: preftune convert FILE pairs.jsonl --from {name}"
    message = f"the row is in the format {title}; it must be a preference row"
    assert findings(bad) == [refused("mixed", "", message, hint)]


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ({"messages": [user(), assistant()]}, "messages"),
        ({"messages": []}, "messages"),
        ({"prompt": "p", "completion": "c"}, "prompt and completion"),
        ({"text": "t"}, "text"),
    ],
)
def test_mixed_names_the_format_of_a_supervised_row_which_nothing_converts(findings, bad, name):
    message = f"the row is a supervised row ({name}); it must be a preference row"
    assert findings(bad) == [refused("mixed", "", message, SUPERVISED)]


@pytest.mark.parametrize(
    ("bad", "rules"),
    [
        ({"preferred_output": [assistant()], "chosen": "a", "rejected": "b"}, ["keys"] * 4),
        ({"input": {"messages": [user()]}, "text": "t"}, ["keys"] * 3),
        ({"prompt": "p"}, ["keys"] * 4),
    ],
)
def test_mixed_is_silent_where_a_row_is_a_preference_row_in_part(bad, rules):
    assert [problem.rule for problem in check_row(bad)] == rules


@pytest.mark.parametrize("key", ["input", "preferred_output", "non_preferred_output"])
def test_keys_finds_a_missing_key(findings, key):
    assert findings(without(key)) == [refused("keys", key, f"{key} is missing", ALL_KEYS)]


def test_keys_finds_every_key_missing_from_an_empty_row(findings):
    keys = ("input", "preferred_output", "non_preferred_output")
    assert findings({}) == [refused("keys", key, f"{key} is missing", ALL_KEYS) for key in keys]


def test_keys_warns_of_unknown_keys_one_by_one(findings):
    message = "'score_1' is no key of a preference row"
    assert findings(row(score_1=1, score_2=2)) == [
        Finding("keys", "warning", 2, (2,), "", message, UNKNOWN_KEY, fixable=True, refused=False)
    ]


@pytest.mark.parametrize("missing", ["input", "preferred_output", "non_preferred_output"])
def test_keys_that_are_unknown_cannot_be_removed_where_one_of_the_three_is_missing(missing):
    """The unknown key may be the missing one, misspelt."""
    told = [(problem.path, problem.fixable) for problem in check_row(without(missing, extra=1))]
    assert told == [(missing, False), ("", False)]


@pytest.mark.parametrize(
    ("missing", "written"),
    [
        ("input", "inputs"),
        ("input", "inptu"),
        ("preferred_output", "prefered_output"),
        ("preferred_output", "preferred"),
        ("preferred_output", "preferred_outputs"),
        ("non_preferred_output", "non_prefered_output"),
        ("non_preferred_output", "nonpreferred_output"),
    ],
)
def test_keys_names_the_key_that_a_missing_one_may_be_written_as(missing, written):
    first, unknown = check_row(without(missing, **{written: 1}))
    assert (first.path, first.message, first.hint) == (missing, f"{missing} is missing", f"rename '{written}'")
    assert unknown.message == f"'{written}' is no key of a preference row"


@pytest.mark.parametrize(
    ("missing", "written"),
    [
        ("preferred_output", "rejected_output"),  # as near in its letters as a misspelling, and the other answer
        ("preferred_output", "unpreferred_output"),
        ("preferred_output", "non_prefered_output"),
        ("non_preferred_output", "prefered_output"),
        ("input", "output"),
        ("input", "i"),
        ("input", ""),
    ],
)
def test_keys_takes_no_key_for_a_missing_one_that_may_be_the_other_answer(missing, written):
    problem = next(check_row(without(missing, **{written: 1})))
    assert (problem.path, problem.hint) == (missing, ALL_KEYS)


@pytest.mark.parametrize("name", ["functions", "Tools", "weight", "", "k" * 1000])
def test_keys_warns_of_keys_in_input_that_it_does_not_have(findings, name):
    shown = repr(name) if len(name) < 60 else f"'{'k' * 56}..."
    message = f"{shown} is no key of input; expected messages, tools, parallel_tool_calls"
    assert findings(row(given={name: 1})) == [
        said("keys", "warning", "input", message, "remove it, or move it where it belongs")
    ]


def test_keys_shortens_an_endless_key(findings):
    (finding,) = findings(row(**{"k" * 1000: 1}))
    assert finding.message == f"'{'k' * 56}... is no key of a preference row"


@pytest.mark.parametrize(
    ("bad", "path", "message", "hint"),
    [
        (replaced(input=None), "input", "input is null; it must be an object", 'write {"messages": [...]}'),
        (replaced(input="Hi"), "input", "input is text; it must be an object", 'write {"messages": [...]}'),
        *(
            (
                replaced(input=given),
                "input.messages",
                f"input.messages is {found}; it must be a list of messages",
                "give the conversation up to the answer, at least one message",
            )
            for given, found in [
                ({}, "missing"), ({"messages": None}, "null"), ({"messages": []}, "an empty list"),
                ({"messages": "Hi"}, "text"), ({"messages": {}}, "an object"), ({"messages": 0}, "a number"),
            ]
        ),
        *(
            (
                row(message),
                "input.messages[0]",
                f"input.messages[0] is {found}; it must be an object",
                'write {"role": ..., "content": ...}',
            )
            for message, found in [(None, "null"), ("Hi", "text"), ([user()], "a list"), (3, "a number")]
        ),
        *(
            (
                row(message),
                "input.messages[0].role",
                f"input.messages[0].role is {found}; {ROLES}",
                "name the speaker",
            )
            for message, found in [
                ({"content": "Hi"}, "missing"), ({"role": "human", "content": "Hi"}, "'human'"),
                ({"role": None, "content": "Hi"}, "null"), ({"role": ["user"], "content": "Hi"}, '["user"]'),
                ({"role": {"r": 1}, "content": "Hi"}, '{"r": 1}'), ({"role": 7, "content": "Hi"}, "7"),
                ({"role": "x" * 1000, "content": "Hi"}, f"'{'x' * 56}..."),
            ]
        ),
        *(
            (
                row(message),
                "input.messages[0].content",
                f"input.messages[0].content is {found}; {TEXT}",
                "write the message's text",
            )
            for message, found in [
                ({"role": "user"}, "missing"), (user(None), "null"), (user(3), "a number"),
                (user({"text": "Hi"}), "an object"), (user([]), "a list that is not all content parts"),
                (user(["Hi"]), "a list that is not all content parts"),
                (user([{"text": "Hi"}]), "a list that is not all content parts"),
                (user([{"type": ["text"], "text": "Hi"}]), "a list that is not all content parts"),
                (user([{"type": "text"}]), "a list that is not all content parts"),
                (user([{"type": "video"}]), "a list that is not all content parts"),
                (user([*text("Hi"), {"type": "image", "text": "cat"}]), "a list that is not all content parts"),
                (user([{"type": "text", "text": 5}]), "a list that is not all content parts"),
                ({"role": "user", "tool_calls": [call()]}, "missing"),
            ]
            if "tool_calls" not in message
        ),
        (
            row(user(), user()),
            "input.messages[1].role",
            "input.messages[1].role is 'user' like the one before; speakers must take turns",
            "join the two messages",
        ),
        (
            row(user(), assistant(), assistant(), user()),
            "input.messages[2].role",
            "input.messages[2].role is 'assistant' like the one before; speakers must take turns",
            "join the two messages",
        ),
        (
            row(user(), assistant()),
            "input.messages[1].role",
            "input.messages[1].role is 'assistant'; the last message must not be",
            "the answers belong into the outputs",
        ),
        (
            row(user(), system()),
            "input.messages[1].role",
            "input.messages[1].role is 'system'; a system message must be the first",
            "move it to the front",
        ),
        (
            row(system(), system(), user()),
            "input.messages[1].role",
            "input.messages[1].role is 'system'; a system message must be the first",
            "move it to the front",
        ),
    ],
)  # fmt: skip
def test_input_finds(findings, bad, path, message, hint):
    assert findings(bad) == [refused("input", path, message, hint)]


def test_input_that_is_a_list_of_messages_can_be_mended(findings):
    message, hint = "input is a list; it must be an object", 'write {"messages": [...]}'
    assert findings(replaced(input=[user()])) == [
        Finding("input", "error", 1, (2,), "input", message, hint, fixable=True, refused=True)
    ]


def test_input_finds_a_user_message_with_tool_calls_in_place_of_content(findings):
    message = {"role": "user", "tool_calls": [call()]}
    path = "input.messages[0].content"
    assert findings(row(message, given={"tools": TOOLS})) == [
        refused("input", path, f"{path} is missing; {TEXT}", "write the message's text")
    ]


@pytest.mark.parametrize(
    "good",
    [
        row(system(), user(), assistant(), user()),
        row(user("")),
        row(user(text("Hi", "there"))),
        row(user(), assistant(None, tool_calls=[call()]), tool(), tool(), given={"tools": TOOLS}),
        row(user(), {"role": "assistant", "tool_calls": [call()]}, tool(), given={"tools": TOOLS}),
        row(user(), assistant(), tool()),
        row(user(name="Ann", whatever=[1])),
        row(given={"parallel_tool_calls": False}),
    ],
)
def test_input_takes(findings, good):
    assert findings(good) == []


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ((assistant("Hello!"), user()), "input.messages[0]"),
        ((system(), assistant("Hello!"), user()), "input.messages[1]"),
    ],
)
def test_assistant_first_notes_a_context_that_the_assistant_opens(findings, messages, path):
    hint = "legal; look whether the first user message got lost"
    assert findings(row(*messages)) == [
        said("assistant-first", "info", path, "the context starts with the assistant", hint)
    ]


def test_assistant_first_is_silent_where_the_user_speaks_first(findings):
    assert findings(row(system(), user(), assistant(), user())) == []


@pytest.mark.parametrize("key", ["preferred_output", "non_preferred_output"])
@pytest.mark.parametrize(
    ("answers", "place", "message", "hint"),
    [
        *(
            (answers, "", f" is {found}; {ONE}", "keep one answer a side")
            for answers, found in [
                (None, "null"), ("Paris", "text"), (assistant(), "an object"), ([], "a list of 0"),
                ([assistant(), assistant()], "a list of 2"), (1, "a number"),
            ]
        ),
        *(
            ([answer], "[0]", f"[0] is {found}; it must be an object", 'write {"role": "assistant", ...}')
            for answer, found in [(None, "null"), ("Paris", "text"), ([assistant()], "a list")]
        ),
        *(
            ([answer], "[0].role", f"[0].role is {found}; it must be 'assistant'", "both outputs are answers")
            for answer, found in [
                (user("Paris."), "'user'"), ({"content": "Paris."}, "missing"), (tool(), "'tool'"),
                ({"role": ["assistant"], "content": "Paris."}, '["assistant"]'),
                ({"role": ["x" * 1000], "content": "Paris."}, f'["{"x" * 55}...'),
            ]
        ),
        *(
            ([answer], "[0].content", f"[0].content is {found}; {TEXT}", "write the message's text")
            for answer, found in [
                ({"role": "assistant"}, "missing"), (assistant(None), "null"), (assistant(5), "a number"),
                (assistant({"a": 1}), "an object"), (assistant([]), "a list that is not all content parts"),
                (assistant(None, tool_calls=[]), "null"), (assistant(None, tool_calls=None), "null"),
            ]
        ),
        *(
            ([assistant(content)], "[0].content", "[0].content is empty; it must hold an answer", EMPTY)
            for content in ["", " \n\t", "\u3000\u00a0", text(""), text(" ", "\n")]
        ),
    ],
)  # fmt: skip
def test_output_finds(findings, key, answers, place, message, hint):
    assert findings(replaced(**{key: answers})) == [refused("output", key + place, key + message, hint)]


@pytest.mark.parametrize(
    "good",
    [
        row(chosen=assistant(text("Paris."))),
        row(chosen=assistant(None, tool_calls=[call()]), given={"tools": TOOLS}),
        row(chosen=assistant("", tool_calls=[call()]), given={"tools": TOOLS}),
        row(chosen={"role": "assistant", "tool_calls": [call()]}, given={"tools": TOOLS}),
        row(chosen=assistant(tool_calls=None)),
        row(chosen=assistant("Let me look.", tool_calls=[call()]), given={"tools": TOOLS}),
        row(chosen=assistant(text("Let me look."), tool_calls=[call()]), given={"tools": TOOLS}),
        row(chosen=assistant(" \n", tool_calls=[call()]), given={"tools": TOOLS}),
        row(chosen=assistant(text("", "Paris."))),
    ],
)
def test_output_takes(findings, good):
    assert findings(good) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [(5, "a number"), ({"a": 1}, "an object"), ([], "a list that is not all content parts"), (False, "a boolean")],
)
def test_output_finds_content_beside_tool_calls_that_is_no_content(findings, content, found):
    path = "preferred_output[0].content"
    assert findings(row(chosen=assistant(content, tool_calls=[call()]), given={"tools": TOOLS})) == [
        refused("output", path, f"{path} is {found}; {TEXT}", "write the message's text")
    ]


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (2, "2"), (0.5, "0.5"), (-1, "-1"), (True, "true"), (False, "false"), ("1", "'1'"), (None, "null"),
        ([], "[]"), ({"a": []}, '{"a": []}'), (10**400, "1" + "0" * 56 + "..."),
    ],
)  # fmt: skip
def test_weights_finds_a_message_weight_other_than_0_or_1(findings, weight, shown):
    path = "input.messages[0].weight"
    assert findings(row(user(weight=weight))) == [
        refused("weights", path, f"{path} is {shown}; it must be 0 or 1", "use the row's weight for fractions")
    ]


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (-0.5, "-0.5"), (True, "true"), ("1", "'1'"), (None, "null"), ([], "[]"),
        (10**400, "1" + "0" * 56 + "..."), (-(10**400), "-1" + "0" * 55 + "..."),
    ],
)  # fmt: skip
def test_weights_finds_a_row_weight_that_is_no_finite_number_of_at_least_0(findings, weight, shown):
    message = f"weight is {shown}; it must be a finite number of at least 0"
    assert findings(row(weight=weight)) == [refused("weights", "weight", message, "1 is an ordinary pair")]


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_finds_a_row_weight_that_no_json_can_hold(weight):
    assert [problem.rule for problem in check_row(row(weight=weight))] == ["weights"]


@pytest.mark.parametrize("weight", [0, 0.0])
def test_weights_counts_rows_of_weight_0(findings, weight):
    hint = "drop the row, or give it a weight"
    assert findings(row(weight=weight)) == [
        said("weights", "info", "weight", "weight is 0: the pair trains nothing", hint)
    ]


@pytest.mark.parametrize(
    "good", [row(weight=1), row(weight=2.5), row(weight=1e300), row(user(weight=0)), row(user(weight=1))]
)
def test_weights_takes(findings, good):
    assert findings(good) == []


@pytest.mark.parametrize(
    ("bad", "fixable"),
    [(row(tools=TOOLS), True), (row(tools=None), True), (row(given={"tools": TOOLS}, tools=TOOLS), False)],
)
def test_tools_finds_tools_outside_input_and_can_move_them_where_there_are_none_inside(findings, bad, fixable):
    message, hint = "tools stands beside input; it must stand inside", "move it to input.tools"
    assert findings(bad) == [Finding("tools", "error", 1, (2,), "tools", message, hint, fixable=fixable, refused=True)]


def test_tools_cannot_be_moved_into_an_input_that_is_no_object():
    assert [(p.rule, p.fixable) for p in check_row(replaced(input="Hi", tools=TOOLS))] == [
        ("input", False), ("tools", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [1, None, "weather", [], {}, {"name": "weather"}, {"function": 1}, {"function": {}}, {"function": {"name": ["x"]}}],
)
def test_tools_finds_an_entry_that_declares_no_function_by_name(findings, bad):
    message = "input.tools[1] declares no function by name; no call can name it"
    assert findings(row(given={"tools": [*TOOLS, bad]})) == [said("tools", "error", "input.tools[1]", message, DECLARE)]


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), (1, "1"), ("true", "'true'"), ([], "[]")])
def test_tools_finds_parallel_tool_calls_that_is_neither_true_nor_false(findings, value, shown):
    path = "input.parallel_tool_calls"
    assert findings(row(given={"parallel_tool_calls": value})) == [
        said("tools", "error", path, f"{path} is {shown}; it must be true or false", "write one of them")
    ]


@pytest.mark.parametrize(
    ("declared", "found"), [({}, "an object"), ("[]", "text"), (1, "a number"), (True, "a boolean")]
)
def test_tools_finds_a_declaration_that_is_no_list(findings, declared, found):
    message = f"input.tools is {found}; it must be a list"
    assert findings(row(given={"tools": declared})) == [
        refused("tools", "input.tools", message, "list each tool as an object")
    ]


@pytest.mark.parametrize(
    "declared", [None, [], [{"function": {"name": "Weather"}}], [{"function": {"name": "weather "}}]]
)
def test_tools_finds_a_call_of_a_tool_that_is_not_declared(findings, declared):
    path = "preferred_output[0].tool_calls[0]"
    message = f"{path} calls 'weather', which is not declared"
    assert findings(row(chosen=assistant(None, tool_calls=[call()]), given={"tools": declared})) == [
        refused("tools", path, message, "declare it in input.tools")
    ]


@pytest.mark.parametrize(
    ("name", "shown"), [(None, "null"), (["weather"], '["weather"]'), ("x" * 99, f"'{'x' * 56}...")]
)
def test_tools_finds_a_call_whose_name_is_odd(findings, name, shown):
    path = "input.messages[1].tool_calls[0]"
    context = (user(), assistant(None, tool_calls=[call(name)]), tool())
    assert findings(row(*context, given={"tools": TOOLS})) == [
        refused("tools", path, f"{path} calls {shown}, which is not declared", "declare it in input.tools")
    ]


@pytest.mark.parametrize("bad", [None, 1, "weather", [], {}, {"function": "weather"}, {"function": None}])
def test_tools_finds_a_call_without_a_function(findings, bad):
    path = "non_preferred_output[0].tool_calls[0]"
    assert findings(row(rejected=assistant(None, tool_calls=[bad]), given={"tools": TOOLS})) == [
        refused("tools", path, f"{path} has no function; it must name one", "write the call as the model would")
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        "", "{", "city=Rome", "[" * 100_000, "9" * 5000, "[]", "null", '"Rome"', "1", '{"a": NaN}', '{"a": 1e999}',
        '{"a": 1, "a": 2}', '{"a": 1} {}', None, 1, [], ["city"], True,
    ],
)  # fmt: skip
def test_tools_finds_arguments_that_are_no_json_object(findings, arguments):
    path = "preferred_output[0].tool_calls[0].function.arguments"
    assert findings(row(chosen=assistant(None, tool_calls=[call(arguments=arguments)]), given={"tools": TOOLS})) == [
        refused("tools", path, f"{path} is no JSON object", "write the arguments as a JSON object in text")
    ]


def test_tools_finds_arguments_with_half_a_character_in_a_row_that_no_file_held():
    chosen = assistant(None, tool_calls=[call(arguments='{"city": "\ud800"}')])
    (problem,) = check_row(row(chosen=chosen, given={"tools": TOOLS}))
    assert problem.message == "preferred_output[0].tool_calls[0].function.arguments is no JSON object"


@pytest.mark.parametrize(
    ("calls", "found"),
    [("weather()", "text"), ({"name": "weather"}, "an object"), (1, "a number"), (True, "a boolean")],
)
def test_tools_finds_calls_that_are_no_list(findings, calls, found):
    path = "preferred_output[0].tool_calls"
    assert findings(row(chosen=assistant(None, tool_calls=calls))) == [
        refused("tools", path, f"{path} is {found}; it must be a list", "list each call as an object")
    ]


@pytest.mark.parametrize(
    "good",
    [
        row(given={"tools": TOOLS}),
        row(given={"tools": None}),
        row(given={"tools": []}),
        row(given={"tools": TOOLS, "parallel_tool_calls": True}),
        row(user(), assistant(None, tool_calls=[call(), call()]), tool(), given={"tools": TOOLS * 2}),
        row(chosen=assistant(None, tool_calls=[call(arguments={"city": "Rome"})]), given={"tools": TOOLS}),
        row(chosen=assistant(None, tool_calls=[{"function": {"name": "weather"}}]), given={"tools": TOOLS}),
    ],
)
def test_tools_takes(findings, good):
    assert findings(good) == []


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize(("side", "key"), [("chosen", "preferred_output"), ("rejected", "non_preferred_output")])
def test_reasoning_warns_of_reasoning_on_one_side_only(findings, name, side, key):
    assert findings(row(**{side: assistant("Lyon.", **{name: "Hm."})})) == [
        said("reasoning", "warning", f"{key}[0]", f"only {key} carries reasoning", "give it to both sides, or to none")
    ]


def test_reasoning_is_silent_with_reasoning_on_both_sides_or_an_empty_one(findings):
    assert findings(row(chosen=assistant(reasoning="a"), rejected=assistant("No.", reasoning_content="b"))) == []
    assert findings(row(chosen=assistant(reasoning="", reasoning_content=None))) == []


MOVE, INLINE = "move or drop it", "inline it as data:image/png;base64,…"


@pytest.mark.parametrize(
    "bad",
    [
        None, 1, "", [], {}, {"url": None}, {"url": 1}, {"url": "https://a.example/b.png"}, "https://a.example/b.png",
        {"url": "data:image/gif;base64,AAAA"}, {"url": "data:image/png,AAAA"}, {"url": " " + PNG},
    ],
)  # fmt: skip
def test_images_finds_an_image_that_is_not_inline(findings, bad):
    path = "input.messages[0].content[1]"
    part = {"type": "image_url", "image_url": bad}
    message = f"{path} is no inline image; it must be a data URL of jpeg, png or webp"
    assert findings(row(user([*text("What?"), part]))) == [refused("images", path, message, INLINE)]


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        (row(user(text("Hi")), assistant([image()]), user(text("Hi"))), "input.messages[1].content[0]"),
        (row(chosen=assistant([*text("See"), image()])), "preferred_output[0].content[1]"),
        (row(chosen=assistant([image()])), "preferred_output[0].content[0]"),
        (row(rejected={**assistant([*text("See"), image()])}), "non_preferred_output[0].content[1]"),
    ],
)
def test_images_finds_an_image_outside_a_user_message_of_the_context(findings, bad, path):
    message = f"{path} is an image outside a user message of the context"
    assert findings(bad) == [refused("images", path, message, MOVE)]


def test_images_finds_more_than_ten(findings):
    message = "the row has 11 images; at most 10 are taken"
    assert findings(row(user([image()] * 11))) == [refused("images", "input.messages", message, "drop some")]


def test_images_finds_one_of_more_than_10_mib(findings, monkeypatch):
    monkeypatch.setattr(schema, "MAX_IMAGE_BASE64", 8)
    path = "input.messages[0].content[1]"
    large = row(user([image("data:image/png;base64," + "A" * 8), image("data:image/png;base64," + "A" * 9)]))
    assert findings(large) == [refused("images", path, f"{path} is larger than 10 MiB", "scale the image down")]


def test_images_finds_one_in_a_message_with_a_weight(findings):
    path = "input.messages[0].content[0]"
    message = f"{path} is an image in a message with a weight other than 0"
    assert findings(row(user([image()], weight=1))) == [refused("images", path, message, "set its weight to 0")]


def test_images_finds_plain_messages_beside_multimodal_ones(findings):
    message = "some messages are multimodal and some plain; all must be alike"
    assert findings(row(system(), user([image()]))) == [
        refused("images", "input.messages", message, "write every content as a list of parts")
    ]


@pytest.mark.parametrize(
    "good",
    [
        row(user([*text("What?"), image()] + [image()] * 9)),
        row(user([image("data:image/jpeg;base64,AA"), image("data:image/webp;base64,AA")])),
        row(user([{"type": "image_url", "image_url": PNG}], weight=0)),
        row(system(text("Look.")), user([image()])),
        row(system(), user(text("no image, so either form will do"))),
        row(user([image()]), {"role": "assistant", "tool_calls": [call()]}, tool(text("1")), given={"tools": TOOLS}),
    ],
)
def test_images_takes(findings, good):
    assert findings(good) == []


def test_several_faults_of_one_row_are_all_told_once(findings):
    bad = {
        "input": {"messages": [{"role": "human", "content": 1}, user(weight=3)]},
        "preferred_output": [user("x")],
        "non_preferred_output": [],
        "weight": -1,
        "tools": [],
        "score": 1,
    }
    assert [(finding.rule, finding.severity, finding.path, finding.count) for finding in findings(bad)] == [
        ("input", "error", "input.messages[0].role", 1),
        ("input", "error", "input.messages[0].content", 1),
        ("output", "error", "preferred_output[0].role", 1),
        ("output", "error", "non_preferred_output", 1),
        ("weights", "error", "input.messages[1].weight", 1),
        ("weights", "error", "weight", 1),
        ("tools", "error", "tools", 1),
        ("keys", "warning", "", 1),
    ]


# Whatever stands where

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "user", "assistant", "system", "tool", "text", "image_url", PNG, "{}", "weather"])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "image_url", "url", "function", "name", "arguments"])
            | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FULL = row(
    system(text("s")),
    user([*text("u"), image()], weight=0),
    assistant(None, tool_calls=[call()]),
    tool(text("t")),
    given={"tools": TOOLS, "parallel_tool_calls": True},
    chosen=assistant(reasoning="r", reasoning_content="r", tool_calls=[call()]),
    weight=1,
)


def _places(value, path=()):
    """Return the path of every value inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


def _put(value, path, new):
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = _put(value[path[0]], path[1:], new)
    return value


@settings(deadline=None)
@given(place=st.sampled_from(_places(FULL)[1:]), value=JSON)
def test_no_rule_raises_whatever_stands_in_place_of_a_field(place, value):
    for problem in check_row(_put(FULL, place, value)):
        assert problem.message
        assert problem.hint


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*FULL, "messages", "chosen", "rejected", "tools"]) | st.text(max_size=3), JSON))
def test_no_rule_raises_on_any_object(value):
    assert all(problem.severity in {"error", "warning", "info"} for problem in check_row(value))


def test_the_full_row_that_the_fields_are_replaced_in_is_a_good_one():
    assert [problem.rule for problem in check_row(FULL)] == ["reasoning"]


@pytest.mark.parametrize("extra", [{"messages": []}, {"prompt": "p", "completion": "c"}, {"text": "t"}])
def test_a_row_of_two_hosted_formats_at_once_is_refused(extra):
    row = {"input": {}, "preferred_output": [], "non_preferred_output": []} | extra
    (problem,) = check_row(row)
    assert (problem.rule, problem.severity, problem.refused) == ("mixed", "error", True)
    assert problem.hint == f"remove {' and '.join(extra)}"
