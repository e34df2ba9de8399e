"""Prompts as a model takes them, and what keeps ``generate`` to one text for each of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from clmkit.chunking import context_length
from clmkit.evaluation import evaluation_mode

# What a model's own generation config may ask for, and a function that promises one text a prompt does not take: more
# texts than one, more than tokens, other searches, other helpers, other ends, and what the machine may lack.
OVERRIDDEN: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "return_dict_in_generate": False}
OVERRIDDEN |= dict.fromkeys(("output_attentions", "output_hidden_states", "output_scores", "output_logits"), False)
OVERRIDDEN |= dict.fromkeys(("token_healing", "is_assistant", "use_mtp"), False)
OVERRIDDEN |= dict.fromkeys(("penalty_alpha", "dola_layers", "constraints", "force_words_ids", "speculation_type"))
OVERRIDDEN |= dict.fromkeys(("prompt_lookup_num_tokens", "assistant_early_exit", "assistant_ensemble_weight"))
OVERRIDDEN |= dict.fromkeys(("max_time", "forced_bos_token_id", "forced_eos_token_id"))
OVERRIDDEN |= dict.fromkeys(("cache_implementation", "cache_config", "max_cache_len"))

# Fields that look at the tokens before: in a batch they would take what fills a shorter prompt for text.
LOOKING_BACK: tuple[str, ...] = ("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "sequence_bias")
LOOKING_BACK += ("bad_words_ids", "stop_strings", "watermarking_config")
# Kinds that look at all tokens, whatever the mask of a batch says.
UNMASKED = ("recurrent_gemma", "reformer", "rwkv", "xlstm")

# Held from the seed to the last draw: torch's random numbers are one stream, and another thread would draw from it too.
DRAWING = RLock()


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from a seed, and go on afterwards as if nothing had been drawn.

    Raises:
        ValueError: If the seed is no whole number of 0 or more.
    """
    if type(seed) is not int or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be a whole number from 0 to 2**64 - 1, not {seed!r}")
    with DRAWING, torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def encode_prompts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], new_tokens: int
) -> list[list[int]]:
    """Tokenize prompts, and make sure that each and what follows fit into the context.

    Raises:
        ValueError: If there is no prompt, one is empty or too long, or ``prompts`` is one text and no list.
    """
    if isinstance(prompts, str):
        raise ValueError(f"prompts must be a list, not one text: [{prompts!r}]")
    empty = [number for number, prompt in enumerate(prompts) if not isinstance(prompt, str) or not prompt.strip()]
    if empty or not prompts:
        which = f" (number {empty[0]})" if len(prompts) > 1 else ""
        raise ValueError(f"the prompt{which} is empty: give the model at least a word to continue")
    encoded: Any = tokenizer(list(prompts), verbose=False, return_special_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    documents = [_without_end(ids, added, tokenizer) for ids, added in pairs]
    if not all(documents):
        raise ValueError(f"{prompts[documents.index([])]!r} has no tokens: give the model at least a word to continue")
    check_room(max(map(len, documents)), new_tokens, model)
    return documents


def _without_end(ids: list[int], added: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """A prompt without what its tokenizer puts at a text's end: it would end the text before it is continued.

    A prompt of such tokens alone is left its first, if a text begins with that.
    """
    length = len(ids)
    while length and (added[length - 1] or ids[length - 1] == tokenizer.eos_token_id):
        length -= 1
    return ids[:length] or [first for first in ids[:1] if first == tokenizer.bos_token_id]


def check_room(length: int, new_tokens: int, model: PreTrainedModel) -> None:
    """Raise a ValueError unless a prompt of so many tokens and what is to come fit into the model's context."""
    context = context_length(model.config)
    if context is not None and length + new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens and {new_tokens} more are to come, but the model's context holds "
            f"{context}: shorten the prompt or ask for fewer new tokens"
        )


def pad_left(documents: Sequence[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
    """One batch of prompts, the shorter ones filled up on the left, so that all end where the new tokens begin.

    They are filled by their own first token, since ``repetition_penalty`` takes what fills for text.

    Returns:
        ``input_ids`` and ``attention_mask``, int64, of as many columns as the longest has tokens.
    """
    length = max(map(len, documents))
    filled = [ids[:1] * (length - len(ids)) + ids for ids in documents]
    mask = [[0] * (length - len(ids)) + [1] * len(ids) for ids in documents]
    columns = {"input_ids": filled, "attention_mask": mask}
    return {name: torch.tensor(rows, device=device) for name, rows in columns.items()}


def looks_back(model: PreTrainedModel) -> bool:
    """Whether each prompt has to be continued alone, for the model's kind or a field of its generation config."""
    asked = any(getattr(model.generation_config, name, None) for name in LOOKING_BACK)
    return asked or model.config.model_type in UNMASKED


def one_text(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int, new_tokens: int
) -> dict[str, Any]:
    """The arguments by which ``generate`` gives one text a prompt, whatever the model's own generation config asks.

    What is the model's taste stays: what it likes, avoids or forbids to write, and where it ends.

    Args:
        model: Has the generation config.
        tokenizer: Its tokenizer.
        length: Of the prompts, in tokens.
        new_tokens: How many to add at most.
    """
    own: Any = model.generation_config
    settings = {name: value for name, value in OVERRIDDEN.items() if getattr(own, name, None) is not None}
    ends = tokenizer.eos_token_id if own.eos_token_id is None else own.eos_token_id
    pads = (tokenizer.eos_token_id, tokenizer.pad_token_id, *_as_list(ends), 0)
    settings |= {"eos_token_id": ends, "pad_token_id": next(token for token in pads if token is not None)}
    # As lengths in all: of new tokens and a length, generate warns that it was given both.
    least = min(own.min_new_tokens or 0, new_tokens)
    settings |= {"max_new_tokens": None, "max_length": length + new_tokens}
    return settings | {"min_new_tokens": None, "min_length": length + least if least else 0}


def _as_list(ids: int | list[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else ids


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[list[int]],
    new_tokens: int,
    *,
    batch_size: int,
    seed: int,
    **arguments: Any,
) -> list[list[int]]:
    """The new tokens of each prompt, up to the one that ends it.

    Args:
        model: A causal language model; it is left in the mode, training or not, that it was in.
        tokenizer: Its tokenizer.
        documents: The prompts' tokens.
        new_tokens: How many to add at most.
        batch_size: Prompts in one call of ``generate``.
        seed: What is drawn at random is drawn from it.
        **arguments: More for ``generate``; they win over ``one_text``.

    Raises:
        ValueError: If the seed is none, or the model's probabilities are not finite.
    """
    size = 1 if looks_back(model) else batch_size
    added: list[list[int]] = []
    with drawing_from(seed, model.device), evaluation_mode(model):
        for start in range(0, len(documents), size):
            added += _continue_batch(model, tokenizer, documents[start : start + size], new_tokens, arguments)
    return added


def _continue_batch(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[list[int]],
    new_tokens: int,
    arguments: dict[str, Any],
) -> list[list[int]]:
    inputs = pad_left(documents, model.device)
    length = inputs["input_ids"].shape[1]
    settings = {**one_text(model, tokenizer, length, new_tokens), **arguments}
    if getattr(model.config, "output_router_logits", False):  # of experts, for a loss that is none of generation's
        settings["output_router_logits"] = False
    settings["logits_processor"] = LogitsProcessorList([_FiniteScores()])
    generate: Any = model.generate  # a mixin that PreTrainedModel's type does not name
    rows = generate(**inputs, tokenizer=tokenizer, **settings)[:, length:].tolist()
    ends = set(_as_list(settings["eos_token_id"]))
    return [_up_to_end(row, ends) for row in rows]


class _FiniteScores(LogitsProcessor):
    """In place of what ``generate`` does with scores that are not finite: a RuntimeError, or, if greedy, any token.

    A class, since ``generate`` looks at its signature at each token, which of a function takes 0.1 ms.
    """

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Give the scores back, or raise a ValueError."""
        if not scores.amax(dim=-1).isfinite().all():
            raise ValueError(
                "the model's probabilities are not finite: its weights are not finite themselves, or too large for the "
                "precision that they are loaded in (dtype)"
            )
        return scores


def _up_to_end(row: list[int], ends: set[int]) -> list[int]:
    stop = next((place for place, token in enumerate(row) if token in ends), len(row))
    return row[: stop + 1]
