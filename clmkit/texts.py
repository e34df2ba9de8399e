"""Split rows, find the text among their columns, and join the answers of a row into one text."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from datasets import Dataset, DatasetDict, Features, IterableDataset, Value

from clmkit.messages import _

Rows = TypeVar("Rows", Dataset, DatasetDict, IterableDataset)


SPLIT_SEED = 42


def split_rows(dataset: Dataset, test_size: float = 0.2, seed: int = SPLIT_SEED) -> DatasetDict:
    """Split rows into training and test rows, the same way every time.

    The guide splits without a seed, so its perplexity moves from run to run. Split rows, never blocks: two blocks of
    one document on the two sides of a split would leak the answer.

    Args:
        dataset: The rows.
        test_size: The share of rows to hold out, between 0 and 1.
        seed: Of the shuffle before the split.

    Returns:
        The rows under ``"train"`` and ``"test"``.

    Raises:
        ValueError: If a side would be empty.
    """
    held_out = 0 if math.isnan(test_size) else round(len(dataset) * test_size)
    if not 0 < held_out < len(dataset):
        raise ValueError(
            f"{len(dataset)} rows with test_size={test_size} leave {max(len(dataset) - held_out, 0)} rows to "
            f"train on and {max(held_out, 0)} to test on: both need at least 1"
        )
    return dataset.train_test_split(test_size=held_out, seed=seed)


def find_text_column(features: Mapping[str, Any]) -> str:
    """Name the column that holds the text: ``answers.text``, flattened or nested, or ``text``.

    Args:
        features: Columns by name: a data set's ``features``, or a row.

    Raises:
        ValueError: If there is none; the message names the columns there are.
    """
    if isinstance(features.get("answers"), dict) and "text" in features["answers"]:
        return "answers.text"
    for column in ("answers.text", "text"):
        if column in features:
            return column
    raise ValueError(
        f"no text column: expected 'answers.text' or 'text', found {', '.join(map(repr, features))}. Name "
        "yours: join_answers(dataset, text_column=...)"
    )


def no_column(column: str, columns: Iterable[str]) -> str:
    """What to say where a column is not there."""
    return f"no column {column!r}: there are {', '.join(map(repr, columns))}"


def join_answers(dataset: Rows, text_column: str | None = None, num_proc: int | None = None) -> Rows:
    """Flatten, and join the answers of each row into one text (the guide's ``" ".join(x)``).

    Args:
        dataset: Rows with a text column: strings, or lists of strings; nested or flattened. They may be streamed.
        text_column: Its name; without it ``find_text_column`` decides.
        num_proc: How many processes to use; a stream takes one.

    Returns:
        As many rows, of the same kind, with the single column ``text`` (string).

    Raises:
        ValueError: If there are no rows, the column is not there or holds something else than text, or an answer is
            null, empty, missing or no string: with its row and number.
    """
    if isinstance(dataset, DatasetDict):
        return DatasetDict({side: join_answers(rows, text_column, num_proc) for side, rows in dataset.items()})
    if isinstance(dataset, IterableDataset):
        columns: Mapping[str, Any] = next(iter(dataset), {})  # a stream may not know its columns before its rows come
    else:
        dataset = dataset.flatten()
        columns = dataset.features if len(dataset) else {}
    if not columns:
        raise ValueError("there are no rows: 0 texts to join")
    column = text_column or find_text_column(columns)
    join = partial(
        dataset.map,
        _join_batch,
        batched=True,
        with_indices=True,
        fn_kwargs={"column": column},
        remove_columns=list(columns),
        features=Features({"text": Value("string")}),
    )
    if isinstance(dataset, IterableDataset):
        return join()
    _check_holds_text(dataset.features, column)
    return join(num_proc=num_proc, desc=_("Join answers"))


def _check_holds_text(features: Features, column: str) -> None:
    if column not in features:
        raise ValueError(no_column(column, features))
    item = getattr(features[column], "feature", features[column])
    # A column of mixed types is of Datasets' type Json; the row that is no text is named when it is joined.
    if type(item).__name__ != "Json" and getattr(item, "dtype", None) not in ("string", "large_string"):
        raise ValueError(f"column {column!r} holds {features[column]}, not text: every answer must be a string")


def _texts_of(batch: Mapping[str, list[Any]], column: str) -> list[Any]:
    """A column of a batch; ``answers.text`` may still be nested in ``answers``."""
    outer, _, inner = column.partition(".")
    if column in batch:
        return batch[column]
    if outer not in batch:
        raise ValueError(no_column(column, batch))
    return [(row or {}).get(inner) for row in batch[outer]]


def _join_batch(batch: dict[str, list[Any]], indices: list[int], column: str) -> dict[str, list[str]]:
    texts = []
    for index, answers in zip(indices, _texts_of(batch, column), strict=True):
        answers = answers if isinstance(answers, list) else [answers]
        if not answers:
            raise ValueError(f"row {index} has no answer in {column!r}: remove the row, or give it a text")
        for number, answer in enumerate(answers, start=1):
            if not isinstance(answer, str) or not answer.strip():
                what = "empty" if isinstance(answer, str) else "null" if answer is None else repr(answer)
                raise ValueError(
                    f"row {index}, answer {number} of {column!r} is {what}; it must be a string that is not "
                    "empty: mend it, or remove the row"
                )
        texts.append(" ".join(answers))
    return {"text": texts}
