"""Turn texts into token ids at the tokenizer's own speed."""

import json
from array import array
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value
from tokenizers import Tokenizer

from clmkit.columns import TEXT_TYPES, no_column
from clmkit.gigatokens import gigatoken_for, gigatoken_problem, tokenizer_problem
from clmkit.texts import Rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INPUT_IDS = Features({"input_ids": List(Value("int32"))})


def tokenize(
    dataset: Rows,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    text_column: str = "text",
    append_eos: bool = False,
    num_proc: int | None = None,
    fast: bool | None = None,
) -> Rows:
    """Tokenize a column of texts (the guide's ``preprocess_function``).

    The ids are those of ``tokenizer(texts)``. Only they are kept: documents are not padded, so an attention mask would
    be all ones. Texts longer than the model's context are kept whole, since ``chunk`` cuts them up; the tokenizer's
    warning about them does not apply here and does not come.

    Where gigatoken is installed (``pip install 'clmkit[fast]'``), it takes the tokenizers, GPT-2's among them, and the
    texts for which its ids are certain to be the same (``clmkit.gigatokens``), in a small part of the time. Ids and
    cache are the same with it and without.

    Args:
        dataset: Rows with a column of strings. They may be streamed.
        tokenizer: A tokenizer that is backed by the ``tokenizers`` library, as nearly all are.
        text_column: The column's name.
        append_eos: End every document with ``tokenizer.eos_token``, so that a model can learn where answers end. The
            guide does not.
        num_proc: How many processes to use; a stream takes one. One is enough for thousands of rows: the tokenizer has
            threads of its own.
        fast: ``False`` leaves gigatoken out, and ``True`` asks for it.

    Returns:
        As many rows, of the same kind, with the single column ``input_ids`` (lists of int32).

    Raises:
        ValueError: If the column is not there or holds something else than text, the tokenizer has no ``tokenizers``
            backend, ``append_eos`` is asked of one without an eos_token, or ``fast=True`` where gigatoken is not there
            or does not take the tokenizer.
    """
    if isinstance(dataset, DatasetDict):
        how: dict[str, Any] = {"text_column": text_column, "append_eos": append_eos, "num_proc": num_proc, "fast": fast}
        return DatasetDict({side: tokenize(rows, tokenizer, **how) for side, rows in dataset.items()})
    _check_text_column(dataset, text_column)
    check_tokenizer(tokenizer, append_eos=append_eos)
    tokenizer_json = _plain_json(tokenizer.backend_tokenizer)
    if fast and (problem := gigatoken_problem() or tokenizer_problem(json.loads(tokenizer_json))):
        raise ValueError(f"fast=True, but gigatoken can't be used: {problem}. Leave fast out, for the same ids")
    # As text: a tokenizer object hashes differently once it has been used, and the cache would be missed.
    arguments = {
        "tokenizer_json": tokenizer_json,
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
        "eos_id": tokenizer.eos_token_id if append_eos else None,
        "fast": fast,
    }
    texts = dataset.select_columns([text_column]).with_format("arrow")
    encode = partial(
        texts.map, _tokenize_batch, batched=True, fn_kwargs=arguments, remove_columns=[text_column], features=INPUT_IDS
    )
    tokens = encode() if isinstance(dataset, IterableDataset) else encode(num_proc=num_proc, desc="Tokenize")
    return tokens.with_format(None)


def check_tokenizer(tokenizer: "PreTrainedTokenizerBase", *, append_eos: bool = False) -> None:
    """Raise a ValueError unless ``tokenize`` can use a tokenizer."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(f"{type(tokenizer).__name__} has no `tokenizers` backend: load it by AutoTokenizer")
    if append_eos and tokenizer.eos_token_id is None:
        raise ValueError(f"{type(tokenizer).__name__} has no eos_token to append: set one, or pass append_eos=False")


def check_vocabulary(tokenizer: "PreTrainedTokenizerBase", known: int) -> None:
    """Raise a ValueError if a tokenizer has ids beyond the model's embedding, which has so many."""
    needed = max(tokenizer.get_vocab().values(), default=-1) + 1
    if needed > known:
        raise ValueError(
            f"the tokenizer has ids for {needed:,} tokens, the model's embedding {known:,}: before "
            f"training, call model.resize_token_embeddings({needed}) and save it, or take the tokenizer that came with "
            "it"
        )


def _check_text_column(dataset: Dataset | IterableDataset, text_column: str) -> None:
    """Raise a ValueError unless the column is there and holds text, as far as a stream tells."""
    names = dataset.column_names or list(next(iter(dataset), {}))
    if text_column not in names:
        raise ValueError(no_column(text_column, names))
    feature = (dataset.features or {}).get(text_column)
    if feature is not None and getattr(feature, "dtype", None) not in TEXT_TYPES:
        raise ValueError(f"column {text_column!r} holds {feature}, not text")


def _plain_json(backend: Tokenizer) -> str:
    """The tokenizer as JSON, without the truncation and padding that an earlier call may have switched on."""
    if backend.truncation is None and backend.padding is None:
        return backend.to_str()
    plain = Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    return plain.to_str()


@lru_cache(maxsize=4)
def _tokenizer_from(tokenizer_json: str, split_special_tokens: bool) -> Tokenizer:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.encode_special_tokens = split_special_tokens  # the JSON does not hold it
    return tokenizer


def _tokenize_batch(
    table: pa.Table, tokenizer_json: str, split_special_tokens: bool, eos_id: int | None, fast: bool | None
) -> pa.Table:
    texts = table.column(0)
    if texts.null_count:
        raise ValueError(f"{texts.null_count} texts are null: remove those rows (join_answers names them)")
    gigatoken = None if fast is False else gigatoken_for(tokenizer_json)
    strings = texts.to_pylist()
    certain = gigatoken.is_certain(texts) if gigatoken else [False] * len(strings)
    sure = iter(gigatoken.encode(list(compress(strings, certain))) if gigatoken else [])
    others = _encode(list(compress(strings, map(not_, certain))), tokenizer_json, split_special_tokens)
    rows = [next(sure) if one else next(others) for one in certain]
    if eos_id is not None:  # some tokenizers end every text by it themselves
        rows = [ids if len(ids) and ids[-1] == eos_id else np.append(ids, np.uint32(eos_id)) for ids in rows]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    flat = np.concatenate([np.empty(0, np.uint32), *rows])
    return pa.table({"input_ids": pa.ListArray.from_arrays(offsets, flat.view(np.int32))})


def _encode(texts: list[str], tokenizer_json: str, split_special_tokens: bool) -> Iterator[npt.NDArray[np.uint32]]:
    """The ids of each text by the tokenizer itself."""
    if texts:
        for encoding in _tokenizer_from(tokenizer_json, split_special_tokens).encode_batch_fast(texts):
            yield np.frombuffer(array("I", encoding.ids), np.uint32)  # the fastest way from Python's lists


def count_tokens(dataset: Dataset) -> int:
    """Count the tokens in ``input_ids``, the sum of the rows' lengths, without reading them."""
    import pyarrow.compute as pc

    ids = dataset.with_format("arrow")[:].column("input_ids")
    return pc.sum(pc.list_value_length(ids)).as_py() or 0
