"""The budget of a side, counted by real tokenizers, and how far the estimate without one is from them."""

import importlib.util
import json
from pathlib import Path

import pytest

if not all(map(importlib.util.find_spec, ("mistral_common", "tokenizers", "transformers"))):
    pytest.skip("the tokenizers' packages are not in this environment: make peers", allow_module_level=True)

import mistral_common
import tokenizers
from mistral_common.protocol.instruct.messages import UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from tokenizers import models, pre_tokenizers, processors, trainers
from transformers import MistralCommonBackend, PreTrainedTokenizerFast

import preftune as pt
from preftune.pairs.pair import PreferencePair, message_text
from preftune.pairs.rules.budget import truncation
from preftune.pairs.tokens import MESSAGE_TOKENS, budget, estimate_tokens, token_counter

BEFORE_AN_ANSWER = 3  # of the tokens that ChatML writes around it: <|im_start|>, assistant, line break
BYTES_OF_A_CHARACTER = 3  # that two characters may share, each a token of its own, before the last one tells them apart
TEXTS = [
    "",
    "a",
    "Name three rivers of Europe, and the sea that each of them flows into.",
    "def area(radius: float) -> float:\n\treturn 3.14159 * radius ** 2\n\n\n",
    "Größe, naïveté, Ångström: 12 345,67 €",
    "请用一句话介绍长城。它有多长?",
    "اكتب جملة عن البحر",
    "Напиши одно предложение о море",
    "well done 🎉🏽 👩‍👩‍👧‍👦 \U00020bb7",
    "  spaces   before\r\n\r\nand \x00 \ufeff odd characters \u200b\u2028 ",
    "<s>[INST] markers of a template </s> <|im_start|>user",
    "a" * 5_000,
]
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@pytest.fixture(scope="module")
def tekken():
    """Return the tokenizer of 131,072 tokens that mistral-common carries with it."""
    return MistralTokenizer.v3(is_tekken=True)


@pytest.fixture(scope="module")
def wrapped_tekken():
    """Return the same tokenizer as transformers wraps it."""
    return MistralCommonBackend(
        tokenizer_path=str(Path(mistral_common.__file__).parent / "data" / "tekken_240718.json")
    )


@pytest.fixture
def fast():
    """Return a small byte-level tokenizer that writes <s> before a text and </s> after it."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["system\nuser\nassistant\nwhich words are learned, and which are not?"] * 9, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    return made


def pair(prompt, chosen, rejected):
    return PreferencePair(
        [{"role": "user", "content": prompt}],
        {"role": "assistant", "content": chosen},
        {"role": "assistant", "content": rejected},
    )


def written(path, *pairs):
    rows = [
        {"input": {"messages": each.prompt}, "preferred_output": [each.chosen], "non_preferred_output": [each.rejected]}
        for each in pairs
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def raw_tokens(tekken, text):
    return tekken.instruct_tokenizer.tokenizer.encode(text, bos=False, eos=False)


def counted(pairs, count):
    """Return the tokens of an epoch: each context once with each answer, and what stands around each message."""
    messages = [message for each in pairs for side in (each.chosen, each.rejected) for message in (*each.prompt, side)]
    return sum(count(message_text(message)) for message in messages) + MESSAGE_TOKENS * len(messages)


@pytest.mark.parametrize("text", [text for text in TEXTS if text.strip() == text and text])
def test_the_count_of_tekken_is_that_of_a_chat_request_without_its_three_control_tokens(tekken, text):
    request = ChatCompletionRequest(messages=[UserMessage(content=text)])
    whole = tekken.encode_chat_completion(request).tokens  # <s> [INST] ... [/INST]
    assert token_counter(tekken)(text) == len(whole) - 3


@pytest.mark.parametrize("text", TEXTS)
def test_every_token_of_tekken_is_counted_and_none_of_its_control_tokens(tekken, wrapped_tekken, text):
    tokens = raw_tokens(tekken, text)
    assert tekken.instruct_tokenizer.tokenizer.decode(tokens) == text
    inner = tekken.instruct_tokenizer.tokenizer
    assert [token_counter(tokenizer)(text) for tokenizer in (tekken, inner, wrapped_tekken)] == [len(tokens)] * 3


@pytest.mark.parametrize("text", TEXTS)
def test_the_object_its_file_and_the_one_of_transformers_count_alike_and_without_special_tokens(tmp_path, fast, text):
    path = tmp_path / "tokenizer.json"
    fast.save(str(path))
    tokens = fast.encode(text).ids[1:-1]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>", model_max_length=8)
    counts = [token_counter(tokenizer)(text) for tokenizer in (fast, path, str(path), wrapped)]
    assert counts == [len(tokens)] * 4


@pytest.mark.parametrize("text", TEXTS)
def test_a_tokenizer_set_to_cut_or_to_fill_up_counts_the_whole_text_and_stays_as_it_is(tmp_path, fast, text):
    whole = token_counter(fast)(text)
    fast.enable_truncation(7)
    fast.enable_padding(length=5)
    path = tmp_path / "tokenizer.json"
    fast.save(str(path))
    before = fast.to_str()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>")
    assert [token_counter(tokenizer)(text) for tokenizer in (fast, path, wrapped)] == [whole] * 3
    assert fast.to_str() == before


def test_a_side_has_the_tokens_that_a_chat_template_makes_of_it(fast):
    wrapped = PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", eos_token="</s>")
    asked = [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": "Which words are learned?"},
        {"role": "assistant", "content": "All of them, 語 too."},
        {"role": "user", "content": "And which are not?"},
    ]
    chosen, rejected = ({"role": "assistant", "content": text} for text in ("None at all.", "I could not say."))
    sides = [
        len(wrapped.apply_chat_template([*asked, side], chat_template=CHATML)["input_ids"])
        for side in (chosen, rejected)
    ]
    problems = truncation(
        PreferencePair(asked, chosen, rejected), budget(wrapped, max_seq_length=None, tokens_per_side=min(sides) - 1)
    )
    assert [problem.message for problem in problems] == [
        f"{key} with its context has {tokens} tokens; a side has room for {min(sides) - 1}"
        for key, tokens in zip(("preferred_output", "non_preferred_output"), sides, strict=True)
    ]
    enough = budget(wrapped, max_seq_length=None, tokens_per_side=max(sides))
    assert list(truncation(PreferencePair(asked, chosen, rejected), enough)) == []


SHARED = "The three longest rivers of Europe are the Volga, the Danube and the Ural, in this order; "
ALIKE_AT_FIRST = [
    (SHARED + "all of them flow into a sea.", SHARED + "alligators live in none, which is as well."),
    (
        "长城是中国古代的防御工程,全长两万多公里。" * 3 + "它很长。",
        "长城是中国古代的防御工程,全长两万多公里。" * 3 + "他修的。",
    ),
    ("supercalifragilistic" * 8 + "expialidocious", "supercalifragilistic" * 8 + "explained at length"),
    ("🎉" * 40 + "!", "🎉" * 39 + "🔥" * 2),
    ("one", "one, and so on" * 30),
    ("nothing in common" * 5, "another beginning" * 5),
]


@pytest.mark.parametrize(("chosen", "rejected"), ALIKE_AT_FIRST)
def test_the_cut_is_an_error_exactly_where_it_leaves_nothing_that_differs(tekken, chosen, rejected):
    one = pair("Which rivers are long?", chosen, rejected)
    context = len(raw_tokens(tekken, "Which rivers are long?")) + MESSAGE_TOKENS
    answers = [raw_tokens(tekken, text) for text in (chosen, rejected)]

    def alike(tokens):
        """Tell whether both answers are the same in their first tokens."""
        return answers[0][: max(0, tokens)] == answers[1][: max(0, tokens)]

    verdicts, least, most = [], [], []
    for room in range(1, context + max(map(len, answers)) + MESSAGE_TOKENS + 9):
        found = list(truncation(one, budget(tekken, max_seq_length=2 * room + 1, tokens_per_side=None)))
        verdicts.append(bool(found) and found[0].severity == "error")
        over = sum(context + len(answer) + MESSAGE_TOKENS > room for answer in answers)
        least.append(over == 2 and alike(room - context + BYTES_OF_A_CHARACTER))
        most.append(over > 0 and alike(room - context - BEFORE_AN_ANSWER))
    assert any(least)
    assert not all(most)
    assert [sure <= said <= possible for sure, said, possible in zip(least, verdicts, most, strict=True)] == [
        True
    ] * len(verdicts)


def test_check_counts_an_epoch_and_each_side_with_the_tokenizer(tekken, fast, tmp_path):
    pairs = [
        pair("Which rivers are long?", "Three, and all of them flow into a sea.", "I could not say."),
        pair("What is it?" * 200, "One thing.", "Another thing."),
        pair("And short?", SHARED * 9 + "so", SHARED * 9 + "thus"),
    ]
    path = written(tmp_path / "pairs.jsonl", *pairs)
    fast.save(str(tmp_path / "tokenizer.json"))
    for tokenizer in (tekken, fast, tmp_path / "tokenizer.json", PreTrainedTokenizerFast(tokenizer_object=fast)):
        count = token_counter(tokenizer)
        report = pt.check(path, tokenizer=tokenizer, max_seq_length=240)
        assert not report.stats.tokens_estimated
        assert report.stats.tokens_per_epoch == counted(pairs, count)
        assert [
            (finding.severity, finding.lines, finding.message)
            for finding in report.findings
            if finding.rule == "truncation"
        ] == [
            ("error", (2,), "the cut at 120 tokens a side leaves nothing of the answers"),
            ("error", (3,), "the cut at 120 tokens a side leaves both answers the same"),
        ]


@pytest.mark.real
@pytest.mark.parametrize("name", ["dpo_en", "dpo_zh"])
def test_check_of_real_pairs_counts_every_token_of_an_epoch(real_data, tekken, tmp_path, name):
    path = tmp_path / "pairs.jsonl"
    pt.convert(real_data / "llamafactory" / f"{name}.json", path)
    report = pt.check(path, tokenizer=tekken)
    assert report.stats.tokens_per_epoch == counted(pt.pairs.read(path), lambda text: len(raw_tokens(tekken, text)))


ENGLISH = ["llamafactory/dpo_en.json"]
LLMBAR = [
    f"llmbar/{name}.json"
    for name in ("natural", "adversarial_gptinst", "adversarial_gptout", "adversarial_manual", "adversarial_neighbor")
]


@pytest.mark.real
@pytest.mark.parametrize("files", [ENGLISH, LLMBAR, ["llamafactory/dpo_zh.json"], ["medicalgpt/dpo_zh.jsonl"]])
def test_the_estimate_over_a_real_set_is_too_high_by_at_most_15_percent(real_data, tekken, files):
    texts = [
        message_text(message)
        for file in files
        for one in pt.pairs.read(real_data / file)
        for message in (*one.prompt, one.chosen, one.rejected)
    ]
    assert 1 <= too_high(texts, tekken) <= 1.15


RUSSIAN = """Чтобы выучить новый язык, начните с коротких ежедневных занятий: двадцать минут каждый день полезнее, чем
три часа по воскресеньям. Записывайте незнакомые слова вместе с предложением, в котором они встретились, и возвращайтесь
к ним через неделю. Читайте вслух, слушайте радио и не бойтесь ошибок: без них никто ещё не научился говорить. Когда вы
сможете рассказать о своём дне, найдите собеседника и попросите его исправлять вас только тогда, когда смысл становится
непонятен."""
GREEK = """Για να μάθετε μια νέα γλώσσα, ξεκινήστε με σύντομα καθημερινά μαθήματα: είκοσι λεπτά κάθε μέρα ωφελούν
περισσότερο από τρεις ώρες την Κυριακή. Γράψτε τις άγνωστες λέξεις μαζί με την πρόταση όπου τις συναντήσατε και
επιστρέψτε σε αυτές ύστερα από μια εβδομάδα. Διαβάστε δυνατά, ακούστε ραδιόφωνο και μη φοβάστε τα λάθη: χωρίς αυτά
κανείς δεν έμαθε να μιλάει. Όταν μπορείτε να διηγηθείτε τη μέρα σας, βρείτε έναν συνομιλητή και ζητήστε του να σας
διορθώνει μόνο όταν χάνεται το νόημα."""
ARABIC = """لكي تتعلم لغة جديدة، ابدأ بدروس قصيرة كل يوم: عشرون دقيقة يوميا أنفع من ثلاث ساعات في يوم الأحد. اكتب
الكلمات التي لا تعرفها مع الجملة التي وردت فيها، وارجع إليها بعد أسبوع. اقرأ بصوت عال، واستمع إلى الراديو، ولا تخف من
الأخطاء، فلم يتعلم أحد الكلام من دونها. وعندما تستطيع أن تحكي عن يومك، ابحث عن شخص تتحدث معه، واطلب منه أن يصحح لك فقط
عندما يضيع المعنى."""


def test_the_estimate_over_scripts_of_two_bytes_is_too_high_by_at_most_15_percent(tekken):
    assert 1 <= too_high([RUSSIAN, GREEK, ARABIC], tekken) <= 1.15


@pytest.mark.parametrize("text", [RUSSIAN, GREEK, ARABIC])
def test_the_estimate_for_one_script_of_two_bytes_is_off_by_at_most_20_percent(tekken, text):
    assert 0.8 <= too_high([text], tekken) <= 1.2


def too_high(texts, tekken):
    """Return the estimated tokens of all texts over those that the tokenizer makes of them."""
    return sum(map(estimate_tokens, texts)) / sum(len(raw_tokens(tekken, text)) for text in texts)
