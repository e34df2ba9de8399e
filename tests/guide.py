"""The guide's own two map functions, to compare clmkit's with."""

from collections.abc import Callable
from typing import Any

Batch = dict[str, list[Any]]


def preprocess_function(tokenizer: Callable[[list[str]], Any]) -> Callable[[Batch], Any]:
    return lambda examples: tokenizer([" ".join(x) for x in examples["answers.text"]])


def group_texts(examples: Batch, block_size: int = 128) -> Batch:
    concatenated = {k: sum(examples[k], []) for k in examples}  # noqa: RUF017, quadratic as the guide's
    total = len(concatenated[next(iter(examples))])
    if total >= block_size:
        total = (total // block_size) * block_size
    result = {k: [t[i : i + block_size] for i in range(0, total, block_size)] for k, t in concatenated.items()}
    result["labels"] = result["input_ids"].copy()
    return result
