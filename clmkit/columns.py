"""Find the text among the columns of rows, and within what a column holds."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

TEXT_TYPES = ("string", "large_string", "string_view")
# Where texts are that are not in a column of their own: the answers of ELI5, and the messages of a conversation.
INNER_COLUMNS = {"answers": "text", "messages": "content", "conversations": "value"}
LIKELY = {"text", *INNER_COLUMNS.values()}  # the last part of the name of a column with text
MANY = 20  # names in an error


def find_text_column(features: Mapping[str, Any]) -> str:
    """Name the column that holds the text: ``answers.text``, flattened or nested, ``text``, or a chat's messages.

    Args:
        features: Columns by name: a data set's ``features``, or a row.

    Raises:
        ValueError: If there is none; the message names the columns there are.
    """
    for column in ("answers.text", "text"):
        if column in features:
            return column
    for outer, inner in INNER_COLUMNS.items():
        item = _item(features.get(outer))
        if isinstance(item, Mapping) and inner in item:
            return f"{outer}.{inner}"
    likely = sorted(_columns_of_text(features), key=lambda name: name.rpartition(".")[2].lower() not in LIKELY)
    remedy = f"Name yours: text_column={likely[0]!r}" if likely else "None of them holds text"
    others = f", or another of {listed(map(repr, likely[1:]))}" if likely[1:] else ""
    raise ValueError(
        f"no text column: expected 'answers.text' or 'text', found {listed(map(repr, features))}. {remedy}{others}"
    )


def name_text_column(columns: Mapping[str, Any], text_column: str | None) -> str:
    """The column that counts: the one that is named, or that is found; empty where join_answers says what there is."""
    try:
        return text_column or find_text_column(columns)
    except ValueError:
        return ""


def examples_of(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Of each column the first value that is not empty, or an empty one."""
    examples: dict[str, Any] = {}
    for row in rows:
        examples |= {name: value for name, value in row.items() if not examples.get(name)}
    return examples


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, the first of them where there are many."""
    names = list(names)
    return ", ".join(names[:MANY]) + (f" and {len(names) - MANY:,} more" if len(names) > MANY else "")


def _columns_of_text(features: Mapping[str, Any]) -> Iterator[str]:
    """The columns that hold strings, by themselves or under a key of their objects."""
    for column, item in features.items():
        item = _item(item)
        if isinstance(item, Mapping):
            yield from (f"{column}.{key}" for key, value in item.items() if _is_text(_item(value)))
        elif _is_text(item):
            yield column


def _item(of: Any) -> Any:
    """What a list holds, of a value or of a type; anything else as it is."""
    return of[0] if isinstance(of, list) and of else getattr(of, "feature", of)


def _is_text(item: Any) -> bool:
    return isinstance(item, str) or getattr(item, "dtype", None) in TEXT_TYPES


def no_column(column: str, columns: Iterable[str]) -> str:
    """What to say where a column is not there."""
    return f"no column {column!r}: there are {listed(map(repr, columns))}"


def type_of(features: Mapping[str, Any], column: str) -> Any:
    """The type of a column, or of what ``split_column`` finds within it."""
    outer, inner = split_column(column, features)
    item = _item(features.get(outer))
    for key in filter(None, inner.split(".")):
        item = _item(item.get(key)) if isinstance(item, dict) else None
    return item


def split_column(column: str, columns: Iterable[str]) -> tuple[str, str]:
    """The column that holds what ``text_column`` names, and where in it: ``"a"`` and ``"b.c"`` for ``"a.b.c"``."""
    parts, there = column.split("."), set(columns)
    for end in range(len(parts), 1, -1):
        if (outer := ".".join(parts[:end])) in there:
            return outer, ".".join(parts[end:])
    return parts[0], ".".join(parts[1:])


def holds_text(features: Mapping[str, Any], column: str, mixed: bool = False) -> bool:
    """Whether a column holds strings, or lists of strings, as far as its type tells.

    Args:
        features: Columns by name.
        column: Its name.
        mixed: Whether a type counts too of which each row says whether it is text: the parts that ``text_of`` joins,
            and Datasets' type Json, which reads the text ``"0"`` as a number.
    """
    item = type_of(features, column)
    in_parts = isinstance(item, Mapping) and {"type", "text"} <= set(item)
    return _is_text(item) or (mixed and (in_parts or type(item).__name__ == "Json"))
