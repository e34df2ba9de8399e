"""gigatoken gives the tokenizer's own ids wherever clmkit takes it, and clmkit does not take it anywhere else."""

import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clmkit import gigatokens
from clmkit.files import load_local
from clmkit.gigatokens import COMPARED, Gigatoken, gigatoken_for, gigatoken_problem, tokenizer_problem
from clmkit.hub.real_model import real_model_folder
from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED, SAMPLE

needs_gigatoken = pytest.mark.skipif(gigatoken_problem() is not None, reason=str(gigatoken_problem()))
long = [pytest.mark.long, pytest.mark.timeout(3000)]
CONTEXTS = ("{}", "a{}b", "1{}2", "a {} b", "!{}!", " {}a", "\n{}\r\n", "  {}  ", "'{}")
# Of each length in UTF-8 letters, digits, spaces and other signs, and what GPT-2's pattern names.
SIGNS = "aéतs'tll1٣१ \t\n\r\x0b\x85\xa0\u2003\u2028\u3000\u200b\ufeff\x00.!€—😀🧑\u200d\u0301中"
SPECIAL = "<|endoftext|>"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    gigatoken_for.cache_clear()
    yield
    gigatoken_for.cache_clear()


def byte_level(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return tokenizer


@lru_cache
def every_two_bytes() -> Tokenizer:
    """A tokenizer in which any two bytes of a word merge, so that its ids show where a text is split into words."""
    letters = sorted(ByteLevel.alphabet())
    merges = list(product(letters, letters))
    vocabulary = {token: number for number, token in enumerate([*letters, *map("".join, merges)])}
    return byte_level(models.BPE(vocab=vocabulary, merges=merges))


@lru_cache
def gpt2() -> Tokenizer:
    folder = Path(os.environ.get("CLMKIT_GPT2_VOCAB") or BUNDLED / "tiny_gpt2")
    tokenizer = byte_level(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.add_special_tokens([SPECIAL])
    return tokenizer


@lru_cache
def bundled() -> Tokenizer:
    return AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2").backend_tokenizer


@lru_cache
def with_bos_and_eos() -> Tokenizer:
    tokenizer = Tokenizer.from_str(bundled().to_str())
    tokenizer.add_special_tokens(["<s>", "</s>"])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=ids)
    return tokenizer


TOKENIZERS = [every_two_bytes, gpt2, bundled, with_bos_and_eos]


def differing(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The texts for which gigatoken is said to be certain, and whose ids are not the tokenizer's."""
    texts = list(texts)
    gigatoken = gigatoken_for(tokenizer.to_str())
    assert gigatoken is not None
    certain = gigatoken.is_certain(pa.chunked_array([texts], pa.string()))
    sure = [text for text, one in zip(texts, certain, strict=True) if one]
    both = zip(sure, gigatoken.encode(sure), tokenizer.encode_batch_fast(sure), strict=True)
    return [text for text, ids, encoding in both if ids.tolist() != encoding.ids]


@needs_gigatoken
@pytest.mark.parametrize("every", [23, pytest.param(1, marks=long)])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_character_alone_and_among_others(tokenizer: Callable[[], Tokenizer], every: int) -> None:
    characters = [chr(code) for code in range(0, 0x110000, every) if not 0xD800 <= code < 0xE000]
    certain = Gigatoken("", [], ([], [])).is_certain(pa.chunked_array([characters], pa.string()))
    sure = [character for character, one in zip(characters, certain, strict=True) if one]
    assert len(sure) > 0xF000 // every  # what languages are written in, and emoji
    assert not differing(tokenizer(), (context.format(character) for context in CONTEXTS for character in sure))


@needs_gigatoken
@pytest.mark.parametrize("length", [2, pytest.param(3, marks=long)])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_order_of_the_characters_that_matter(tokenizer: Callable[[], Tokenizer], length: int) -> None:
    texts = ["".join(signs) for signs in product(SIGNS, repeat=length)]
    # Where a text is longer, whole registers of bytes are looked at: each order at each place in one.
    assert not differing(tokenizer(), [*texts, *("x" * (n % 64) + text + "y" * 80 for n, text in enumerate(texts))])


def compare_any_strings(tokenizer: Callable[[], Tokenizer], examples: int) -> None:
    anything = st.characters(codec="utf-8")
    strings = st.text(st.sampled_from(SIGNS) | anything, max_size=90) | st.text(st.sampled_from(SIGNS), max_size=300)

    @settings(max_examples=examples)
    @given(st.lists(strings | strings.map(lambda text: text + SPECIAL + text), min_size=50, max_size=100))
    def compare(texts: list[str]) -> None:
        assert not differing(tokenizer(), texts)

    compare()


@needs_gigatoken
@pytest.mark.parametrize("examples", [5, pytest.param(2000, marks=long)])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_any_strings(tokenizer: Callable[[], Tokenizer], examples: int) -> None:
    compare_any_strings(tokenizer, examples)


@lru_cache
def real_text() -> str:
    """ELI5's answers where CLMKIT_ELI5_JSON names them, else those of the bundled sample; some Arabic and code too."""
    answers = load_local(os.environ.get("CLMKIT_ELI5_JSON") or SAMPLE)["answers"]
    arabic = (BUNDLED / "arabic_prose.txt").read_text(encoding="utf-8")
    return "\n".join(
        [*(text for answer in answers for text in answer["text"]), arabic, Path(__file__).read_text("utf-8")]
    )


@needs_gigatoken
@pytest.mark.parametrize("cuts", [2000, pytest.param(150_000, marks=long)])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_real_text_cut_at_random(tokenizer: Callable[[], Tokenizer], cuts: int) -> None:
    text, chance = real_text(), random.Random(0)
    starts = [chance.randrange(len(text)) for _ in range(cuts)]
    assert not differing(tokenizer(), [text[start : start + int(chance.expovariate(1 / 100))] for start in starts])


@needs_gigatoken
@pytest.mark.parametrize("seeds", [range(5), pytest.param(range(300), marks=long)])
def test_tokenizers_trained_on_anything_with_their_ids_in_any_order(seeds: range) -> None:
    text = real_text()
    for seed in seeds:
        chance = random.Random(seed)
        texts = [text[start : start + 200] for start in (chance.randrange(len(text)) for _ in range(100))]
        texts += ["".join(chance.choices(SIGNS[:12], k=60)) for _ in range(50)]
        tokenizer = byte_level(models.BPE())
        alphabet = ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            texts,
            trainers.BpeTrainer(vocab_size=chance.randrange(256, 1500), initial_alphabet=alphabet, show_progress=False),
        )
        state = json.loads(tokenizer.to_str())
        ids = list(range(len(state["model"]["vocab"])))
        if seed % 2:
            chance.shuffle(ids)
        state["model"]["vocab"] = {token: ids[number] for token, number in state["model"]["vocab"].items()}
        state["model"]["vocab"]["aĠa1"] = len(ids)  # no merge makes it
        if tokenizer_problem(state) is None:
            assert not differing(Tokenizer.from_str(json.dumps(state)), texts), seed


def changed(change: Callable[[Tokenizer], Any]) -> Tokenizer:
    tokenizer = Tokenizer.from_str(bundled().to_str())
    change(tokenizer)
    return tokenizer


def set_to(name: str, value: Any) -> Callable[[Tokenizer], Any]:
    return lambda tokenizer: setattr(tokenizer, name, value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (set_to("normalizer", normalizers.NFC()), "normalizes"),
        (set_to("normalizer", normalizers.Lowercase()), "normalizes"),
        (set_to("pre_tokenizer", ByteLevel(add_prefix_space=True)), "splits"),
        (set_to("pre_tokenizer", ByteLevel(add_prefix_space=False, use_regex=False)), "splits"),
        (set_to("pre_tokenizer", pre_tokenizers.Whitespace()), "splits"),
        (set_to("pre_tokenizer", pre_tokenizers.Sequence([pre_tokenizers.Digits(True), ByteLevel()])), "splits"),
        (set_to("pre_tokenizer", None), "splits"),
        (set_to("post_processor", processors.TemplateProcessing("$A $A", special_tokens=[])), "does more"),
        (set_to("post_processor", processors.RobertaProcessing((SPECIAL, 8191), (SPECIAL, 8191))), "does more"),
        (lambda tokenizer: setattr(tokenizer.model, "dropout", 0.5), "plain BPE"),
        (lambda tokenizer: setattr(tokenizer.model, "ignore_merges", True), "plain BPE"),
        (set_to("model", models.BPE(vocab={"a": 0}, merges=[])), "vocabulary"),
        (set_to("model", models.WordLevel({"a": 0}, unk_token="a")), "plain BPE"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_does_otherwise_is_left_to_itself(change: Callable[[Tokenizer], Any], problem: str) -> None:
    tokenizer = changed(change)
    assert problem in str(tokenizer_problem(json.loads(tokenizer.to_str())))
    assert gigatoken_for(tokenizer.to_str()) is None


def test_two_merges_that_make_one_token_are_left_to_the_tokenizer() -> None:
    state = json.loads(bundled().to_str())
    state["model"]["vocab"] |= {"zz": 8192, "zzz": 8193}
    state["model"]["merges"] += [["z", "z"], ["zz", "z"], ["z", "zz"]]
    assert "the same token" in str(tokenizer_problem(state))


@needs_gigatoken
@pytest.mark.parametrize(
    "flags",
    [{}, {"special": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}, {"normalized": True}],
    ids=str,
)
@pytest.mark.parametrize("split", [False, True])
def test_texts_that_hold_an_added_token_go_to_the_tokenizer(flags: dict[str, bool], split: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.add_tokens([AddedToken("[a+b]", **flags), AddedToken("sky", **flags)], special_tokens="special" in flags)
    tokenizer.split_special_tokens = split
    texts = ["x [a+b] y", "x[a+b]y", "aab", f"a {SPECIAL} b{SPECIAL}", "the sky is", "skyline", "the blue", ""]
    rows = Dataset.from_dict({"text": texts})
    assert tokenize(rows, tokenizer, fast=True)["input_ids"][:] == tokenizer(texts)["input_ids"]
    gigatoken = gigatoken_for(tokenizer.backend_tokenizer.to_str())
    assert gigatoken is not None
    certain = gigatoken.is_certain(pa.chunked_array([texts]))
    assert certain == [False, False, True, False, False, False, True, True]


@needs_gigatoken
@pytest.mark.parametrize("append_eos", [False, True])
def test_bos_and_eos_are_put_where_the_tokenizer_puts_them(append_eos: bool) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=with_bos_and_eos(), bos_token="<s>", eos_token="</s>")
    texts = ["The sky.", "", "𐒰 and more", "</s>"]
    rows = Dataset.from_dict({"text": texts})
    for fast in (True, False, None):
        tokens = tokenize(rows, tokenizer, append_eos=append_eos, fast=fast)
        assert tokens["input_ids"][:] == tokenizer(texts)["input_ids"]


@needs_gigatoken
def test_truncation_and_padding_of_an_earlier_call_change_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.pad_token = own.eos_token
    own(["a b c d", "a"], truncation=True, max_length=3, padding="max_length")
    rows = Dataset.from_dict({"text": ["a b c d e f", "a"]})
    assert tokenize(rows, own, fast=True)["input_ids"][:] == tokenizer(rows["text"][:])["input_ids"]


@needs_gigatoken
def test_it_forgets_its_words_now_and_then_and_gives_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gigatokens, "RENEW_AFTER", 50)
    for text in ["Some text of twenty.", "and others", "x" * 100] * 3:
        assert not differing(bundled(), [text, text])


@needs_gigatoken
def test_smollm2_is_left_to_its_own_tokenizer() -> None:
    if not (real_model_folder() / "tokenizer.json").is_file():
        pytest.skip(f"no SmolLM2 in {real_model_folder()}: make real-model")
    tokenizer = AutoTokenizer.from_pretrained(real_model_folder())
    rows = Dataset.from_dict({"text": ["In 1969, 12 people", SIGNS]})
    assert tokenize(rows, tokenizer)["input_ids"][:] == tokenizer(rows["text"][:])["input_ids"]
    with pytest.raises(ValueError, match="fast=True, but gigatoken can't be used"):
        tokenize(rows, tokenizer, fast=True)


@pytest.mark.parametrize("package", COMPARED)
@pytest.mark.parametrize("found", [None, "99.0"])
def test_what_was_not_compared_is_not_used(
    package: str, found: str | None, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Dataset.from_dict({"text": ["The sky is blue."]})
    before = tokenize(rows, tokenizer)

    def version(name: str) -> str:
        return (found or "") if name == package else next(one.version for one in COMPARED[name] if one.operator == ">=")

    monkeypatch.setattr(gigatokens, "installed_version", version)
    gigatoken_for.cache_clear()
    assert gigatoken_for(tokenizer.backend_tokenizer.to_str()) is None
    with pytest.raises(ValueError, match=f"fast=True, but gigatoken can't be used: .*{package}"):
        tokenize(rows, tokenizer, fast=True)
    after = tokenize(rows, tokenizer)
    assert after["input_ids"][:] == before["input_ids"][:]
    assert after._fingerprint == before._fingerprint  # so one cache serves machines with it and without
