"""Split rows, and join the answers of a row into one text."""

import math
import reprlib
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value

from clmkit.columns import find_text_column, holds_text, no_column, split_column, type_of
from clmkit.messages import _
from clmkit.row_places import place_of, rows_by_file

Rows = TypeVar("Rows", Dataset, DatasetDict, IterableDataset)

SPLIT_SEED = 42
NOT_BLANK = f"[^{''.join(filter(str.isspace, map(chr, range(0x3001))))}]"  # str.strip leaves something, for RE2


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
    held_out = round(len(dataset) * test_size) if math.isfinite(test_size) else 0
    if not 0 < held_out < len(dataset):
        raise ValueError(
            f"{len(dataset)} rows with test_size={test_size} leave {max(len(dataset) - held_out, 0)} rows to "
            f"train on and {max(held_out, 0)} to test on: both need at least 1"
        )
    return dataset.train_test_split(test_size=held_out, seed=seed)


def join_answers(dataset: Rows, text_column: str | None = None, num_proc: int | None = None) -> Rows:
    """Flatten, and join the answers of each row into one text (the guide's ``" ".join(x)``).

    Of a conversation, the messages' contents are joined. Contents may be lists of parts, all texts; a message without
    a content that calls a tool is passed over.

    Args:
        dataset: Rows with a text column: strings, or lists of strings; nested or flattened. They may be streamed.
        text_column: Its name; without it ``find_text_column`` decides.
        num_proc: How many processes to use; a stream takes one.

    Returns:
        As many rows, of the same kind, with the single column ``text`` (string).

    Raises:
        ValueError: If there are no rows, the column is not there or holds something else than text, or an answer is
            null, empty, missing or no string: with its file, if it is of one, row and number. Of a stream, the row is
            the one that it gives, which after a shuffle is not the file's.
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
    try:
        column = text_column or find_text_column(columns)
        if isinstance(dataset, Dataset):
            _check_holds_text(dataset.features, column)
    except ValueError as error:
        files = ", ".join(rows_by_file(dataset))
        raise ValueError(f"{files}: {error}" if files else str(error)) from error
    how: dict[str, Any] = {"batched": True, "with_indices": True, "fn_kwargs": {"column": column}}
    how["features"] = Features({"text": Value("string")})
    in_arrow = (dataset.features or Features()).flatten().get(column) in (Value("string"), List(Value("string")))
    if isinstance(dataset, IterableDataset):
        # Datasets 4 makes tables of single rows of others, in which a null has no type. (Private; a test names it.)
        if in_arrow and dataset._ex_iterable.iter_arrow is not None:
            # No remove_columns: of a stream of tables they go after the function, the text too if it is called so.
            return dataset.with_format("arrow").map(_join_streamed, **how).with_format(None)
        return dataset.map(_join_streamed, **how, remove_columns=list(columns))
    join = partial(dataset.with_format("arrow").map, _join_table) if in_arrow else partial(dataset.map, _join_batch)
    try:
        return join(**how, remove_columns=list(columns), num_proc=num_proc, desc=_("Join answers")).with_format(None)
    except BadRow as error:
        raise ValueError(f"{place_of(dataset, error.row)}{error.problem}") from error


def _check_holds_text(features: Features, column: str) -> None:
    if type_of(features, column) is None:
        raise ValueError(no_column(column, features))
    if not holds_text(features, column, mixed=True):
        kind = features[column] if column in features else type_of(features, column)
        raise ValueError(f"column {column!r} holds {kind}, not text: every answer must be a string")


def _texts_of(batch: Mapping[str, list[Any]], column: str) -> list[Any]:
    """A column of a batch; ``answers.text`` may still be nested in ``answers``."""
    outer, inner = split_column(column, batch)
    if outer not in batch:
        raise ValueError(no_column(column, batch))
    return [_inner(row, inner) for row in batch[outer]] if inner else batch[outer]


def _inner(row: Any, key: str) -> Any:
    """What stands under a key of an object, or of each object in a list but for messages that only call a tool."""
    if isinstance(row, list):
        return [_inner(one, key) for one in row if not calls_tool(one, key)]
    if not isinstance(row, Mapping):
        return None
    key, _dot, rest = key.partition(".")
    return _inner(row.get(key), rest) if rest else text_of(row.get(key))


def calls_tool(message: Any, key: str = "content") -> bool:
    """Whether a message has no text under its key because it calls a tool instead."""
    return (
        isinstance(message, Mapping)
        and not message.get(key)
        and any(message.get(call) for call in ("tool_calls", "function_call"))
    )


def text_of(content: Any) -> Any:
    """The text of a message whose content is a list of parts, all of them texts; any other content as it is."""
    if not isinstance(content, list) or not content:
        return content
    parts = [one.get("text") if isinstance(one, Mapping) and one.get("type") == "text" else None for one in content]
    return " ".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else content


class BadRow(ValueError):
    """A row whose text can't be joined.

    Attributes:
        row: Its number in the data set.
        problem: What is wrong with it.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(row, problem)
        self.row, self.problem = row, problem

    def __str__(self) -> str:  # where it is not caught: while a stream is read
        return f"row {self.row}{self.problem} (rows are counted as the stream gives them, which a shuffle changes)"


def _join_streamed(batch: Any, indices: list[int], column: str) -> Any:
    """Join, and show a row that has no text: its number tells little once a stream is shuffled or shared."""
    in_arrow = isinstance(batch, pa.Table)
    try:
        return (_join_table if in_arrow else _join_batch)(batch, indices, column)
    except BadRow as error:
        at = error.row - indices[0]
        row = batch.slice(at, 1).to_pylist()[0] if in_arrow else {name: values[at] for name, values in batch.items()}
        raise ValueError(f"{error}: this one is {reprlib.repr(row)}") from error


def join_values(values: list[Any], column: str, outer: str | None = None) -> list[str]:
    """Join what stands in a column, row by row, as ``join_answers`` does.

    Args:
        values: Of each row a string, or a list of strings; or of another column, within which these stand.
        column: The column's name, as ``text_column`` has it.
        outer: The other column's name, if it is another.

    Raises:
        BadRow: If one of them is no text; ``row`` is its place among the values.
    """
    return _join_batch({outer or column: values}, list(range(len(values))), column)["text"]


def _join_table(table: pa.Table, indices: list[int], column: str) -> pa.Table:
    """What ``_join_batch`` does, without a Python object for each answer."""
    while column not in table.column_names:  # it is within another: answers.text
        table = table.flatten()
    rows = table.column(column).combine_chunks()
    lists = pa.types.is_list(rows.type)
    answers = rows.flatten() if lists else rows
    no_answer = lists and not pc.all(pc.greater(pc.fill_null(pc.list_value_length(rows), 0), 0)).as_py()
    if no_answer or answers.null_count or not pc.all(pc.match_substring_regex(answers, NOT_BLANK)).as_py():
        return pa.table(_join_batch({column: rows.to_pylist()}, indices, column))  # which says what is wrong and where
    return pa.table({"text": pc.binary_join(rows, " ") if lists else rows})


def _join_batch(batch: dict[str, list[Any]], indices: list[int], column: str) -> dict[str, list[str]]:
    texts = []
    for index, answers in zip(indices, _texts_of(batch, column), strict=True):
        answers = answers if isinstance(answers, list) else [answers]
        if not answers:
            raise BadRow(index, f" has no answer in {column!r}: remove the row, or give it a text")
        for number, answer in enumerate(answers, start=1):
            if not isinstance(answer, str) or not answer.strip():
                shown = "empty" if isinstance(answer, str) else "null" if answer is None else repr(answer)
                what = shown if len(shown) <= 80 else f"{shown[:80]}..."
                rule = "it must be a string that is not empty: mend it, or remove the row"
                raise BadRow(index, f", answer {number} of {column!r} is {what}; {rule}")
        texts.append(" ".join(answers))
    return {"text": texts}
