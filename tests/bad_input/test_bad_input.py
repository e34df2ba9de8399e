"""What a learner gets wrong: each meets an error that says what was wrong, and nothing is left behind or changed."""

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer, ByT5Tokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.chunking import chunk
from clmkit.eli5 import load_eli5
from clmkit.evaluation import LossHistory, Score, perplexity, score, sum_losses
from clmkit.files import load_local
from clmkit.generation import generate_text, next_token_probabilities
from clmkit.hub.login import choose_sharing
from clmkit.hub.upload import push_model
from clmkit.kernels import start_tensorflow, use_kernel
from clmkit.saving import check_output_dir, write_whole
from clmkit.texts import join_answers, split_rows
from clmkit.tokenization import tokenize
from clmkit.tracks import BUNDLED, Track, choose_track
from clmkit.training import tuned_models as shared
from clmkit.training.keras_callbacks import HubUpload
from clmkit.training.model_card import write_card
from clmkit.training.pytorch import HubCallback, build_trainer, find_or_train


@dataclass
class Desk:
    """What a learner has at hand: a file, a folder to work in, a model, and rows at each step."""

    file: Path
    track: Track
    model: GPT2LMHeadModel
    broken_model: GPT2LMHeadModel
    tokenizer: PreTrainedTokenizerBase
    texts: DatasetDict
    blocks: DatasetDict
    monkeypatch: pytest.MonkeyPatch

    @property
    def tokens(self) -> Dataset:
        return tokenize(self.texts["test"], self.tokenizer)


@pytest.fixture
def desk(
    tmp_path: Path,
    quick: Track,
    model: GPT2LMHeadModel,
    broken_model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: DatasetDict,
    blocks: DatasetDict,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path / "rows.jsonl", quick, model, broken_model, tokenizer, texts, blocks, monkeypatch)


class Row(NamedTuple):
    id: str
    call: Callable[[Desk], Any]
    error: type[Exception]
    message: list[str]  # parts of it
    file: tuple[str, bytes] = ("rows.jsonl", b'{"text": "One."}\n{"text": "Two."}\n')


def load(desk: Desk) -> Dataset:
    return load_local(desk.file)


def join(desk: Desk) -> Dataset:
    return join_answers(load_local(desk.file))


def cut(block_size: Any, context: int | None = None) -> Callable[[Desk], Dataset]:
    return lambda desk: chunk(desk.tokens, block_size, context=context)


def write(prompt: Any = "The sky", **arguments: Any) -> Callable[[Desk], str]:
    return lambda desk: generate_text(desk.model, desk.tokenizer, prompt, **arguments)


def show(prompt: Any = "The sky", **arguments: Any) -> Callable[[Desk], Any]:
    return lambda desk: next_token_probabilities(desk.model, desk.tokenizer, prompt, **arguments)


def without_eos(desk: Desk) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.eos_token = None
    tokenize(desk.texts, tokenizer, append_eos=True)


def track_of_variable(desk: Desk) -> None:
    desk.monkeypatch.setenv("CLMKIT_TRACK", "fast")
    choose_track()


def train_into(folder: str) -> Callable[[Desk], Any]:
    return lambda desk: build_trainer(replace(desk.track, output_dir=folder), desk.model, desk.blocks, desk.tokenizer)


def upload(**arguments: Any) -> Callable[[Desk], Any]:
    return lambda desk: HubUpload(**({"output_dir": desk.file.parent / "out"} | arguments))


def card_of(folder: str) -> Callable[[Desk], Any]:
    figures = Score(2000.0, 1000)
    history = LossHistory([(1, 3.0)], [(1, 2.5)])
    options: dict[str, Any] = {"framework": "pytorch", "hyperparameters": {}, "history": history}
    return lambda desk: write_card(folder, desk.track, desk.blocks, before=figures, after=figures, **options)


def share_by_variable(desk: Desk) -> None:
    desk.monkeypatch.setenv("CLMKIT_SHARE", "1")
    choose_sharing()


def write_under_the_file(desk: Desk) -> None:
    with write_whole(desk.file / "out"):
        pass


def filtered(desk: Desk) -> Dataset:
    return load_local(desk.file).filter(lambda row: False)


CUT_SHORT = gzip.compress(b'{"text": "One."}\n' * 99)[:-9]
NO_PROMPT = ["prompt is empty"]
WHOLE = "must be a whole number of 1 or more, not "
UNDER_FILE = ["rows.jsonl/out", "can't be written", "output_dir"]

ROWS = [
    # Columns and answers.
    Row(
        "no text column",
        join,
        ValueError,
        ["no text column", "'body'", "'id'", "text_column="],
        ("rows.jsonl", b'{"body": "a", "id": 1}\n'),
    ),
    Row(
        "text column not there",
        lambda desk: join_answers(load(desk), "body"),
        ValueError,
        ["no column 'body'", "'text'"],
    ),
    Row(
        "tokenize: text column not there",
        lambda desk: tokenize(desk.texts, desk.tokenizer, text_column="body"),
        ValueError,
        ["no column 'body'", "'text'"],
    ),
    Row("null text", join, ValueError, ["row 1", "null"], ("rows.jsonl", b'{"text": "a"}\n{"text": null}\n')),
    Row(
        "null answer",
        join,
        ValueError,
        ["row 0, answer 2 of 'answers.text' is null"],
        ("rows.jsonl", b'{"answers": {"text": ["a", null]}}\n'),
    ),
    Row(
        "empty answer",
        join,
        ValueError,
        ["row 0, answer 2 of 'answers.text' is empty"],
        ("rows.jsonl", b'{"answers": {"text": ["a", ""]}}\n'),
    ),
    Row(
        "no answer",
        join,
        ValueError,
        ["row 1 has no answer in 'answers.text'"],
        ("rows.jsonl", b'{"answers": {"text": ["a"]}}\n{"answers": {"text": []}}\n'),
    ),
    Row(
        "answers null",
        join,
        ValueError,
        ["row 1", "'answers.text'"],
        ("rows.jsonl", b'{"answers": {"text": ["a"]}}\n{"answers": null}\n'),
    ),
    Row(
        "column of numbers",
        join,
        ValueError,
        ["'text'", "must be a string"],
        ("rows.jsonl", b'{"text": 1}\n{"text": 2}\n'),
    ),
    Row(
        "one answer a number",
        join,
        ValueError,
        ["'text'", "must be a string", "row 1"],
        ("rows.jsonl", b'{"text": "a"}\n{"text": 3}\n'),
    ),
    Row(
        "one nested answer a number",
        join,
        ValueError,
        ["'answers.text'", "must be a string", "row 1"],
        ("rows.jsonl", b'{"answers": {"text": ["a"]}}\n{"answers": {"text": ["b", 3]}}\n'),
    ),
    # No rows.
    Row("empty file", load, ValueError, ["rows.jsonl", "empty", "no rows"], ("rows.jsonl", b"")),
    Row("blank lines alone", load, ValueError, ["rows.jsonl", "no rows"], ("rows.jsonl", b"\n\n")),
    Row("CSV of a header alone", load, ValueError, ["rows.csv", "no rows"], ("rows.csv", b"text,id\n")),
    Row("empty JSON list", load, ValueError, ["rows.json", "no rows"], ("rows.json", b"[]")),
    Row("gzipped nothing", load, ValueError, ["rows.jsonl.gz", "no rows"], ("rows.jsonl.gz", gzip.compress(b""))),
    Row("split of rows all filtered", lambda desk: split_rows(filtered(desk)), ValueError, ["0 rows", "at least 1"]),
    Row(
        "chunk of rows all filtered",
        lambda desk: chunk(tokenize(join_answers(filtered(desk)), desk.tokenizer)),
        ValueError,
        ["no rows"],
    ),
    # Files.
    Row(
        "malformed JSON",
        load,
        ValueError,
        ["rows.json, line 3", "malformed JSON"],
        ("rows.json", b'[\n{"text": "a"},\n{"text" "b"}\n]'),
    ),
    Row(
        "JSON cut short",
        load,
        ValueError,
        ["rows.json, line 2", "malformed JSON"],
        ("rows.json", b'[{"text": "a"},\n{"text": "b'),
    ),
    Row(
        "malformed JSON Lines",
        load,
        ValueError,
        ["rows.jsonl, line 2", "malformed JSON"],
        ("rows.jsonl", b'{"text": "a"}\n{"text": "b"\n{"text": "c"}\n'),
    ),
    Row(
        "malformed JSON Lines after a line separator in a text",
        load,
        ValueError,
        ["rows.jsonl, line 2", "malformed JSON"],
        ("rows.jsonl", '{"text": "a\u2028b"}\n{"text": "b"\n'.encode()),
    ),
    Row(
        "malformed JSON Lines, gzipped",
        load,
        ValueError,
        ["rows.jsonl.gz, line 2", "malformed JSON"],
        ("rows.jsonl.gz", gzip.compress(b'{"text": "a"}\n{"text": "b"\n')),
    ),
    Row(
        "JSON Lines with a row that is no object",
        load,
        ValueError,
        ["rows.jsonl, line 2", "object"],
        ("rows.jsonl", b'{"text": "a"}\n3\n'),
    ),
    Row(
        "no UTF-8 in JSON",
        load,
        ValueError,
        ["rows.jsonl, line 1", "0xff", "UTF-8"],
        ("rows.jsonl", b'{"text": "\xff\xfe"}\n'),
    ),
    Row("no UTF-8 in CSV", load, ValueError, ["rows.csv, line 2", "0xff", "UTF-8"], ("rows.csv", b"text\n\xff\xfe\n")),
    Row("gz that is not gzip", load, ValueError, ["rows.jsonl.gz", "gzip"], ("rows.jsonl.gz", b"no gzip")),
    Row("gz cut short", load, ValueError, ["rows.jsonl.gz", "end"], ("rows.jsonl.gz", CUT_SHORT)),
    Row("CSV gz that is not gzip", load, ValueError, ["rows.csv.gz", "gzip"], ("rows.csv.gz", b"text\nno gzip\n")),
    Row(
        "CSV row with too many fields",
        load,
        ValueError,
        ["rows.csv", "line 3"],
        ("rows.csv", b"text,id\na,1\nb,2,3,4\n"),
    ),
    Row("no parquet", load, ValueError, ["rows.parquet", "parquet"], ("rows.parquet", b"no parquet at all")),
    Row("unknown file type", load, ValueError, ["rows.txt", "unknown file type", ".jsonl"], ("rows.txt", b"a\n")),
    Row("no file type", load, ValueError, ["rows", "unknown file type", ".jsonl"], ("rows", b"a\n")),
    Row("missing file", lambda desk: load_local("no.jsonl"), FileNotFoundError, ["'no.jsonl'", "working folder is"]),
    Row(
        "data file missing",
        lambda desk: choose_track("quick", data="no.jsonl"),
        FileNotFoundError,
        ["'no.jsonl'", "working folder is"],
    ),
    Row(
        "data file gone since",
        lambda desk: load_eli5(replace(desk.track, data="no.jsonl")),
        FileNotFoundError,
        ["'no.jsonl'", "working folder is"],
    ),
    Row("folder for a file", lambda desk: load_local(desk.file.parent), FileNotFoundError, ["is a folder"]),
    # Splits.
    Row("split of one row", lambda desk: split_rows(load(desk).select([0])), ValueError, ["1 rows", "at least 1"]),
    Row("test_size 0", lambda desk: split_rows(load(desk), 0), ValueError, ["test_size=0", "0 to test on"]),
    Row("test_size 1", lambda desk: split_rows(load(desk), 1), ValueError, ["test_size=1", "0 rows to train on"]),
    Row("test_size NaN", lambda desk: split_rows(load(desk), math.nan), ValueError, ["test_size=nan"]),
    # Blocks.
    Row("block_size 0", cut(0), ValueError, [f"block_size {WHOLE}0"]),
    Row("block_size -1", cut(-1), ValueError, [f"block_size {WHOLE}-1"]),
    Row("block_size 1.5", cut(1.5), ValueError, [f"block_size {WHOLE}1.5"]),
    Row("block_size True", cut(True), ValueError, [f"block_size {WHOLE}True"]),
    Row("block_size above the context", cut(600, 512), ValueError, ["600", "context of 512", "lower"]),
    Row("block_size above all tokens", cut(10**6), ValueError, ["8 rows", "1000000", "smaller block_size"]),
    Row(
        "blocks above the context",
        lambda desk: build_trainer(
            desk.track,
            desk.model,
            DatasetDict(dict.fromkeys(("train", "test"), Dataset.from_dict({"input_ids": [[1] * 600]}))),
            desk.tokenizer,
        ),
        ValueError,
        ["block_size 600", "context of 512"],
    ),
    # Tokenizers.
    Row("no eos to append", without_eos, ValueError, ["GPT2Tokenizer", "no eos_token", "append_eos=False"]),
    Row(
        "no backend",
        lambda desk: tokenize(desk.texts, ByT5Tokenizer()),
        ValueError,
        ["ByT5Tokenizer", "backend", "AutoTokenizer"],
    ),
    # Losses.
    Row("NaN loss", lambda desk: perplexity(math.nan), ValueError, ["loss is nan", "learning rate"]),
    Row("negative loss", lambda desk: perplexity(-1.0), ValueError, ["loss is -1.0"]),
    Row(
        "NaN weights",
        lambda desk: score(desk.broken_model, desk.blocks["test"], batch_size=4),
        ValueError,
        ["2 of 2 batches", "not finite"],
    ),
    Row("no blocks", lambda desk: score(desk.model, desk.blocks["test"].select([])), ValueError, ["no blocks"]),
    Row("no batches", lambda desk: sum_losses([]), ValueError, ["no blocks"]),
    Row("no tokens", lambda desk: sum_losses([(0.0, 0)]), ValueError, ["no token is predicted", "-100"]),
    Row(
        "infinite loss",
        lambda desk: sum_losses(iter([(1.0, 2), (math.inf, 2)])),
        ValueError,
        ["1 of 2 batches", "not finite"],
    ),
    # Generation.
    *(
        Row(f"{name}: {label}", call(prompt), ValueError, NO_PROMPT)
        for name, call in (("generate", write), ("show", show))
        for label, prompt in (("empty prompt", ""), ("blank prompt", " \n"), ("prompt None", None))
    ),
    Row(
        "prompt above the context",
        write("sky " * 600),
        ValueError,
        ["tokens and", "context holds 512", "shorten the prompt"],
    ),
    Row(
        "show: prompt above the context",
        show("sky " * 600),
        ValueError,
        ["tokens and", "context holds 512", "shorten the prompt"],
    ),
    Row("max_new_tokens above the context", write(max_new_tokens=512), ValueError, ["512 more", "fewer new tokens"]),
    Row("max_new_tokens 0", write(max_new_tokens=0), ValueError, [f"max_new_tokens {WHOLE}0"]),
    *(
        Row(f"{name}: {argument} {value}", call(**{argument: value}), ValueError, [argument, allowed, f"not {value}"])
        for name, call in (("generate", write), ("show", show))
        for argument, value, allowed in (
            ("temperature", 0, "above 0"),
            ("temperature", -1, "above 0"),
            ("top_k", -1, "0 or more"),
            ("top_p", 1.5, "at most 1"),
            ("top_p", 0, "above 0"),
            ("repetition_penalty", 0, "above 0"),
        )
    ),
    # Output folders. Under a file, since to the user root every folder is writable.
    Row("folder under a file", lambda desk: check_output_dir(desk.file / "out"), OSError, UNDER_FILE),
    Row("Trainer's folder under a file", train_into("rows.jsonl/out"), OSError, UNDER_FILE),
    Row(
        "folder under a file of find_or_train",
        lambda desk: find_or_train(replace(desk.track, output_dir="rows.jsonl/out")),
        OSError,
        UNDER_FILE,
    ),
    Row("folder under a file of write_whole", write_under_the_file, OSError, UNDER_FILE),
    Row(
        "another framework's folder under a file",
        lambda desk: shared.find_or_train(
            replace(desk.track, output_dir="rows.jsonl/out"), "keras_hub", check_output_dir
        ),
        OSError,
        ["rows.jsonl/keras_hub/out", "can't be written", "output_dir"],
    ),
    Row("upload from a folder under a file", upload(output_dir="rows.jsonl/out"), OSError, UNDER_FILE),
    Row("file for a folder", train_into("rows.jsonl"), OSError, ["rows.jsonl", "can't be written", "output_dir"]),
    Row("the card's folder under a file", card_of("rows.jsonl/out"), OSError, ["rows.jsonl/out"]),
    Row(
        "a model to be shared whose folder is under a file",
        lambda desk: HubCallback(desk.file / "out"),
        OSError,
        UNDER_FILE,
    ),
    # Sharing.
    Row(
        "sharing without a token",
        lambda desk: choose_sharing(True),
        PermissionError,
        ["there is no token", "notebook 1", "choose_sharing(False)"],
    ),
    Row("CLMKIT_SHARE without a token", share_by_variable, PermissionError, ["no token", "choose_sharing(False)"]),
    Row(
        "push a folder without a model",
        lambda desk: push_model("quick/tuned"),
        FileNotFoundError,
        ["no model.safetensors in quick/tuned", "save the model there first"],
    ),
    # Callbacks and kernels.
    Row("save_strategy unknown", upload(save_strategy="epochs"), ValueError, ["'no', 'epoch' or 'steps'", "'epochs'"]),
    *(
        Row(f"save_steps {value!r}", upload(save_strategy="steps", save_steps=value), ValueError, [f"not {value!r}"])
        for value in (None, 0, -1, 2.0, True, "2")
    ),
    *(
        Row(
            f"checkpoint with save_strategy {strategy}",
            upload(checkpoint=True, save_strategy=strategy, save_steps=1),
            ValueError,
            ["checkpoint=True needs save_strategy='epoch'", f"not '{strategy}'"],
        )
        for strategy in ("no", "steps")
    ),
    Row(
        "the Keras notebooks on this kernel",
        lambda desk: use_kernel("keras"),
        RuntimeError,
        ["'Causal LM course (Keras)'", "transformers 5", "Change Kernel"],
    ),
    Row(
        "the TensorFlow classes on this kernel",
        lambda desk: start_tensorflow(legacy_keras=True),
        ModuleNotFoundError,
        ["tf_keras is not installed", "'Causal LM course (Keras)'"],
    ),
    # Tracks.
    Row("unknown track", lambda desk: choose_track("fast"), ValueError, ["'fast'", "'quick'", "'full'"]),
    Row("CLMKIT_TRACK unknown", track_of_variable, ValueError, ["'fast'", "'quick'", "CLMKIT_TRACK"]),
    Row(
        "full with no Hub",
        lambda desk: choose_track("full"),
        ConnectionError,
        ["full track", "http://127.0.0.1:9", "choose_track('quick')"],
    ),
    *(
        Row(
            f"{argument}={value}",
            lambda desk, argument=argument, value=value: choose_track("quick", **{argument: value}),
            ValueError,
            [f"{argument} {WHOLE}{value}"],
        )
        for argument in ("rows", "epochs")
        for value in (0, -1, 1.5, True)
    ),
]


def everything_under(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_bad_input_is_an_error_that_says_what_was_wrong_and_leaves_nothing_behind(
    row: Row, desk: Desk, tmp_path: Path
) -> None:
    name, content = row.file
    desk.file = tmp_path / name
    desk.file.write_bytes(content)
    before = everything_under(tmp_path)
    with pytest.raises(row.error) as caught:
        row.call(desk)
    missing = [part for part in row.message if part not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"
    assert everything_under(tmp_path) == before


@pytest.mark.parametrize("loss", [math.inf, 1e6, 710.0])
def test_a_loss_too_large_for_its_perplexity_is_no_error(loss: float) -> None:
    assert perplexity(loss) == math.inf


def test_each_row_of_the_table_has_a_name_of_its_own() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)
