"""Token ids by gigatoken, an optional package: only for tokenizers and texts where they are certain to be the same."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from packaging.specifiers import SpecifierSet
from tokenizers.pre_tokenizers import ByteLevel

from clmkit.kernels import installed_version

# What tests/unit/test_gigatokens.py compared, on every character: other versions may know other characters as letters.
COMPARED = {"gigatoken": SpecifierSet(">=0.10,<0.11"), "tokenizers": SpecifierSet(">=0.21,<0.24")}
# Letters and digits that came into Unicode after version 14, which one of the two may not know. Above U+FFFF all but
# mathematical letters, pictures such as emoji, and older Chinese, rather than each range. As RE2 writes them.
DOUBTFUL = r"[\x{88F}\x{C5C}\x{CDC}\x{1C89}\x{1C8A}\x{A7CB}-\x{A7DC}\x{A7F1}"
DOUBTFUL += r"\x{10000}-\x{1D2FF}\x{1D800}-\x{1EFFF}\x{2B739}-\x{10FFFF}]"
BYTES = frozenset(ByteLevel.alphabet())  # the 256 characters that GPT-2 writes bytes by
MERGING_OTHERWISE = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
RENEW_AFTER = 100_000_000  # characters: it keeps every word that it has met, and nothing bounds that


def gigatoken_problem() -> str | None:
    """Why gigatoken is not used on this machine: it is not there, or its version was not compared; else ``None``."""
    for package, compared in COMPARED.items():
        if not (found := installed_version(package)):
            return f"{package} is not installed (pip install 'clmkit[fast]')"
        if not compared.contains(found, prereleases=True):
            return (
                f"the ids of {package} {found} were not compared with the other's (pip install '{package}{compared}')"
            )
    return None


def tokenizer_problem(tokenizer: dict[str, Any]) -> str | None:
    """Why gigatoken is not used for a tokenizer, given as the JSON of ``tokenizer.json``; else ``None``.

    It is used for byte-level BPE as GPT-2 has it, which splits texts by GPT-2's pattern, normalizes nothing, and whose
    merges make a token each. It reads more, and does not say what it leaves out.
    """
    model, split = tokenizer["model"], tokenizer["pre_tokenizer"] or {}
    if model["type"] != "BPE" or any(model.get(option) for option in MERGING_OTHERWISE):
        return "the tokenizer's model is not plain BPE"
    if (split.get("type"), split.get("use_regex"), split.get("add_prefix_space")) != ("ByteLevel", True, False):
        return "the tokenizer splits texts into words otherwise than GPT-2's"
    if tokenizer["normalizer"] is not None:
        return "the tokenizer normalizes texts"
    if not model["vocab"].keys() >= BYTES or not BYTES.issuperset("".join(model["vocab"])):
        return "the tokenizer's vocabulary is not one of bytes"
    if len({left + right for left, right in model["merges"]}) < len(model["merges"]):
        return "two of the tokenizer's merges make the same token"
    if _added_around(tokenizer["post_processor"]) is None:
        return "the tokenizer does more to a text than to put tokens before and behind it"
    return None


def _added_around(processor: dict[str, Any] | None) -> tuple[list[int], list[int]] | None:
    """The ids that are put before and behind a text; ``None`` if that is not all that the post-processor does."""
    if processor is None or processor["type"] == "ByteLevel":
        return [], []
    pieces = processor.get("single", [])
    places = [place for place, piece in enumerate(pieces) if "Sequence" in piece]
    if processor["type"] != "TemplateProcessing" or len(places) != 1:
        return None
    names = [[piece["SpecialToken"]["id"] for piece in part] for part in (pieces[: places[0]], pieces[places[0] + 1 :])]
    before, behind = ([i for name in part for i in processor["special_tokens"][name]["ids"]] for part in names)
    return before, behind


class Gigatoken:
    """A tokenizer's ids by gigatoken."""

    def __init__(self, tokenizer_json: str, added_tokens: Iterable[str], around: tuple[list[int], list[int]]) -> None:
        """Read a tokenizer without a ``tokenizer_problem``."""
        self._json, self._left = tokenizer_json, 0
        self._before, self._behind = (np.array(ids, np.uint32) for ids in around)
        self._added = bool(len(self._before) + len(self._behind))
        self._doubtful = "|".join([DOUBTFUL, *map(re.escape, added_tokens)])

    def is_certain(self, texts: pa.ChunkedArray) -> list[bool]:
        """For each text, whether its ids are certain to be the other tokenizer's: it holds no added token either."""
        import pyarrow.compute as pc

        large = texts.cast(pa.large_string())  # Arrow searches no views
        certain: list[bool] = pc.invert(pc.match_substring_regex(large, self._doubtful)).to_pylist()
        return certain

    def encode(self, texts: list[str]) -> list[npt.NDArray[np.uint32]]:
        """The ids of each text.

        One text at a time, which costs little and takes no lists; a batch would come as an array of awkward, whose
        import takes longer than thousands of rows.
        """
        if self._left <= 0:
            from gigatoken import Tokenizer

            self._backend, self._left = Tokenizer.from_json(self._json).backend, RENEW_AFTER
        self._left -= sum(map(len, texts))
        encode = self._backend.encode
        if not self._added:
            return [encode(text) for text in texts]
        return [np.concatenate([self._before, encode(text), self._behind]) for text in texts]


@lru_cache(maxsize=4)
def gigatoken_for(tokenizer_json: str) -> Gigatoken | None:
    """Gigatoken for a tokenizer, or ``None`` where it is not used."""
    if gigatoken_problem() or tokenizer_problem(tokenizer := json.loads(tokenizer_json)):
        return None
    added_tokens = [added["content"] for added in tokenizer["added_tokens"]]
    return Gigatoken(tokenizer_json, added_tokens, _added_around(tokenizer["post_processor"]) or ([], []))
