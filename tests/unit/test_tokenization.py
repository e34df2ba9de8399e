import copy
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clmkit.chunking import chunk
from clmkit.tokenization import count_tokens, tokenize
from clmkit.tracks import BUNDLED

HARD_TEXTS = [
    "Plain English.",
    "السماء زرقاء لأن الهواء يشتت الضوء",
    "emoji 🧑‍🔬🌈 and combining e\u0301",
    "def f(x):\n\treturn x ** 2  # code\r\n",
    "ends in the special token <|endoftext|> and goes on",
    "  leading, trailing and   inner spaces  ",
    "\x00 control \x7f characters",
    "x",
    "",
]


@pytest.fixture
def own_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer that a test may change."""
    return AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture
def on_disk(texts: DatasetDict, tmp_path: Path) -> Dataset:
    """Rows in a file, since only such a dataset has a cache."""
    path = tmp_path / "rows.jsonl"
    texts["train"].to_json(path)
    return Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"))


def test_tokenize_gives_the_ids_of_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenize(Dataset.from_dict({"text": HARD_TEXTS}), tokenizer)
    assert tokens["input_ids"][:] == tokenizer(HARD_TEXTS)["input_ids"]


def test_tokenize_adds_the_special_tokens_that_the_tokenizer_adds() -> None:
    vocabulary = {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "sky": 3, "blue": 4}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    bert_like = PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]")
    tokens = tokenize(Dataset.from_dict({"text": ["sky blue", "sky green"]}), bert_like)
    assert tokens["input_ids"][:] == bert_like(["sky blue", "sky green"])["input_ids"] == [[0, 3, 4, 1], [0, 3, 2, 1]]


def test_tokenize_keeps_one_column_of_int32_lists(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenize(texts["train"], tokenizer)
    assert tokens.features == Features({"input_ids": List(Value("int32"))})
    assert tokens.data.schema.field("input_ids").type.value_type == pa.int32()
    assert tokens.format["type"] is None


def test_tokenize_drops_the_other_columns_and_takes_the_one_named(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = Dataset.from_dict({"id": [1, 2], "body": ["blue sky", "red sky"]})
    tokens = tokenize(rows, tokenizer, text_column="body")
    assert tokens.column_names == ["input_ids"]
    assert tokens["input_ids"][:] == tokenizer(["blue sky", "red sky"])["input_ids"]


def test_append_eos_ends_every_document_with_eos(tokenizer: PreTrainedTokenizerBase) -> None:
    rows = Dataset.from_dict({"text": HARD_TEXTS})
    tokens = tokenize(rows, tokenizer, append_eos=True)
    assert tokens["input_ids"][:] == [[*ids, tokenizer.eos_token_id] for ids in tokenizer(HARD_TEXTS)["input_ids"]]


def test_append_eos_adds_none_to_a_text_that_the_tokenizer_ends_by_it_already(
    own_tokenizer: PreTrainedTokenizerBase,
) -> None:
    eos, eos_id = own_tokenizer.eos_token, own_tokenizer.eos_token_id
    template = processors.TemplateProcessing(single=f"$A {eos}", special_tokens=[(eos, eos_id)])
    own_tokenizer.backend_tokenizer.post_processor = template
    rows = Dataset.from_dict({"text": ["One text.", "Another."]})
    for ids in tokenize(rows, own_tokenizer, append_eos=True)["input_ids"]:
        assert ids.count(eos_id) == 1
        assert ids[-1] == eos_id


def test_special_tokens_in_a_text_are_split_where_the_tokenizer_is_told_to(
    own_tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = [f"The sign {own_tokenizer.eos_token} ends a text.", "This has none."]
    rows = Dataset.from_dict({"text": texts})
    whole = own_tokenizer(texts)["input_ids"]
    assert tokenize(rows, own_tokenizer)["input_ids"][:] == whole
    own_tokenizer.split_special_tokens = True
    split = own_tokenizer(texts)["input_ids"]
    assert split[0] != whole[0]
    assert tokenize(rows, own_tokenizer)["input_ids"][:] == split


def test_two_processes_give_the_same_tokens(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> None:
    one = tokenize(texts["train"], tokenizer)
    two = tokenize(texts["train"], tokenizer, num_proc=2)
    assert two["input_ids"][:] == one["input_ids"][:]
    assert two.features == one.features


def test_a_dataset_dict_comes_back_as_one(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenize(texts, tokenizer, append_eos=True)
    assert isinstance(tokens, DatasetDict)
    for side in ("train", "test"):
        assert tokens[side]["input_ids"][:] == tokenize(texts[side], tokenizer, append_eos=True)["input_ids"][:]


def test_rows_of_a_selection_and_in_another_order_keep_their_order(
    texts: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    some = texts["train"].select([5, 3, 9])
    assert tokenize(some, tokenizer)["input_ids"][:] == tokenizer(some["text"][:])["input_ids"]


def test_long_texts_stay_whole_and_cause_no_warning(
    tokenizer: PreTrainedTokenizerBase, caplog: pytest.LogCaptureFixture
) -> None:
    long = "sky " * 2 * tokenizer.model_max_length
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokens = tokenize(Dataset.from_dict({"text": [long]}), tokenizer)
    assert count_tokens(tokens) > tokenizer.model_max_length
    assert not [record for record in caplog.records if "longer than" in record.getMessage()]


def test_a_tokenizer_that_was_used_with_truncation_and_padding_gives_the_same_ids(
    texts: DatasetDict, own_tokenizer: PreTrainedTokenizerBase
) -> None:
    before = tokenize(texts["train"], own_tokenizer)
    own_tokenizer.pad_token = own_tokenizer.eos_token
    own_tokenizer(["a b c d", "a"], truncation=True, max_length=3, padding="max_length")
    assert own_tokenizer.backend_tokenizer.truncation is not None
    after = tokenize(texts["train"], own_tokenizer)
    assert after["input_ids"][:] == before["input_ids"][:]


def test_tokenize_leaves_the_tokenizers_own_truncation_and_padding_as_they_were(
    texts: DatasetDict, own_tokenizer: PreTrainedTokenizerBase
) -> None:
    own_tokenizer.pad_token = own_tokenizer.eos_token
    own_tokenizer(["a b c d", "a"], truncation=True, max_length=3, padding="max_length")
    before = own_tokenizer.backend_tokenizer.to_str()
    tokenize(texts["test"], own_tokenizer)
    assert own_tokenizer.backend_tokenizer.to_str() == before


def test_a_used_tokenizer_hits_the_cache(on_disk: Dataset, own_tokenizer: PreTrainedTokenizerBase) -> None:
    first = tokenize(on_disk, own_tokenizer)
    own_tokenizer(["a b c d", "a"], truncation=True, max_length=3)
    second = tokenize(on_disk, own_tokenizer)
    assert first.cache_files
    assert (second.cache_files, second._fingerprint) == (first.cache_files, first._fingerprint)


def test_append_eos_does_not_hit_the_cache_of_a_run_without(
    on_disk: Dataset, own_tokenizer: PreTrainedTokenizerBase
) -> None:
    without, appended = (tokenize(on_disk, own_tokenizer, append_eos=append) for append in (False, True))
    assert appended.cache_files != without.cache_files
    assert count_tokens(appended) == count_tokens(without) + len(on_disk)


def test_a_new_process_hits_the_cache(on_disk: Dataset, own_tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    here = tokenize(on_disk, own_tokenizer)
    script = f"""
from datasets import Dataset
from transformers import AutoTokenizer
from clmkit.tokenization import tokenize

tokenizer = AutoTokenizer.from_pretrained({str(BUNDLED / "tiny_gpt2")!r})
tokenizer(["used before"], truncation=True, max_length=2)
rows = Dataset.from_json({str(tmp_path / "rows.jsonl")!r}, cache_dir={str(tmp_path / "cache")!r})
tokens = tokenize(rows, tokenizer)
print(tokens._fingerprint, tokens.cache_files[0]["filename"])
"""
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("cache-*.arrow")}
    # Another seed for str hashes, as every process has.
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert answer.stdout.split() == [here._fingerprint, here.cache_files[0]["filename"]]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("cache-*.arrow")} == cached


def test_count_tokens_adds_up_the_lengths_of_rows(tokenizer: PreTrainedTokenizerBase, texts: DatasetDict) -> None:
    tokens = tokenize(texts["train"], tokenizer)
    lengths = [len(ids) for ids in tokens["input_ids"]]
    assert count_tokens(tokens) == sum(lengths)
    assert count_tokens(tokens.select([7, 2])) == lengths[7] + lengths[2]
    assert count_tokens(chunk(tokens, 10)) == sum(lengths) // 10 * 10


def test_count_tokens_of_nothing_is_zero(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenize(Dataset.from_dict({"text": ["", ""]}), tokenizer)
    assert count_tokens(tokens) == 0
    assert count_tokens(tokens.select([])) == 0


def test_a_stream_is_tokenized_as_stored_texts_are(texts: DatasetDict, tokenizer: PreTrainedTokenizerBase) -> None:
    stored = tokenize(texts["train"], tokenizer, append_eos=True)
    stream = tokenize(texts["train"].to_iterable_dataset(), tokenizer, append_eos=True)
    assert isinstance(stream, IterableDataset)
    assert stream.features == stored.features
    assert list(stream) == list(stored)


def test_a_stream_without_the_column_is_refused_before_it_is_read(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match="no column 'text': there are 'other'"):
        tokenize(Dataset.from_dict({"other": ["a"]}).to_iterable_dataset(), tokenizer)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_every_kind_of_string_is_tokenized(tokenizer: PreTrainedTokenizerBase, kind: pa.DataType) -> None:
    texts = pa.array(["blue sky", "red sky"])
    column = texts.dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(texts.to_pylist(), kind)
    try:
        rows = Dataset(pa.table({"text": column}))
    except ValueError:
        pytest.skip("this datasets has no such type")
    ids = tokenizer(texts.to_pylist())["input_ids"]
    assert tokenize(rows, tokenizer)["input_ids"][:] == ids
    assert [row["input_ids"] for row in tokenize(rows.to_iterable_dataset(), tokenizer)] == ids


def test_tokens_may_be_added_before_the_models_embedding_grows(tokenizer: PreTrainedTokenizerBase) -> None:
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(["<one more>"])
    rows = tokenize(Dataset.from_dict({"text": ["Why<one more>?"]}), larger)
    assert rows[0]["input_ids"] == larger("Why<one more>?")["input_ids"]
    assert len(larger) - 1 in rows[0]["input_ids"]
