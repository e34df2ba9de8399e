"""Continue a prompt, and look at what the sampling arguments do to the choice of the next token."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, NamedTuple

import torch
from transformers import (
    EpsilonLogitsWarper,
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer

from clmkit.chunking import context_length
from clmkit.evaluation import evaluation_mode
from clmkit.tracks import check_whole_number

# Whatever the model's own generation config asks for.
ONE_TEXT = {"num_beams": 1, "num_return_sequences": 1, "return_dict_in_generate": False}

# What generate applies after top_p: min_p, and what else a model's own generation config asks for.
_LATER_FILTERS: dict[str, Any] = {
    "min_p": MinPLogitsWarper,
    "typical_p": TypicalLogitsWarper,
    "epsilon_cutoff": EpsilonLogitsWarper,
}

# Held from the seed to the last draw: torch's random numbers are one stream, and another thread would draw from it too.
DRAWING = RLock()


@contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let torch draw from a seed, and go on afterwards as if nothing had been drawn."""
    with DRAWING, torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield


def _encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], new_tokens: int
) -> dict[str, torch.Tensor]:
    """Tokenize prompts for the model's device, and make sure that each and what follows fit into the context."""
    empty = [number for number, prompt in enumerate(prompts) if not isinstance(prompt, str) or not prompt.strip()]
    if empty or not prompts:
        which = f" (number {empty[0]})" if len(prompts) > 1 else ""
        raise ValueError(f"the prompt{which} is empty: give the model at least a word to continue")
    documents: list[list[int]] = tokenizer(list(prompts), verbose=False)["input_ids"]
    # What a tokenizer puts at a text's end would end it before it is continued.
    documents = [ids[:-1] if ids[-1:] == [tokenizer.eos_token_id] and len(ids) > 1 else ids for ids in documents]
    if not all(documents):
        raise ValueError(f"{prompts[documents.index([])]!r} has no tokens: give the model at least a word to continue")
    check_room(max(map(len, documents)), new_tokens, model)
    return pad_left(documents, model.device)


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


def check_sampling(
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    min_p: float = 0.0,
) -> None:
    """Raise a ValueError that says what is allowed, unless all five are."""
    if not temperature > 0:
        raise ValueError(
            f"temperature must be above 0, not {temperature}: for no randomness at all pass do_sample=False"
        )
    if not isinstance(top_k, int) or top_k < 0:
        raise ValueError(f"top_k must be a whole number of 0 or more (0 keeps every token), not {top_k!r}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1 (1 keeps every token), not {top_p}")
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1 (0 keeps every token), not {min_p}")
    if not 0 < repetition_penalty < math.inf:
        raise ValueError(
            "repetition_penalty must be above 0 (1 changes nothing, more than 1 avoids what the text has "
            f"already), not {repetition_penalty}"
        )


def generate_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, **arguments: Any) -> str:
    """Continue one prompt (the guide's step "Inference"): arguments, text and errors as with ``generate_texts``."""
    return generate_texts(model, tokenizer, [prompt], **arguments)[0]


def generate_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    batch_size: int = 32,
    max_new_tokens: int = 100,
    do_sample: bool = True,
    temperature: float = 1.0,
    top_k: int = 50,
    top_p: float = 0.95,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int = 42,
    streamer: BaseStreamer | None = None,
    stopping_criteria: StoppingCriteriaList | None = None,
) -> list[str]:
    """Continue many prompts, in batches: one pass of the model gives all prompts of a batch their next token.

    Without sampling the texts are those that each prompt gets alone. With it they are as likely, but others, since the
    draws come from one stream of random numbers.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: The texts to continue.
        batch_size: How many at a time; memory sets the limit.
        max_new_tokens: How many tokens to add at most; an eos_token ends the text sooner.
        do_sample: Draw the next token by its probability; otherwise always take the most probable (greedy).
        temperature: Below 1 favours probable tokens, above 1 evens them out.
        top_k: Draw only from the k most probable tokens; 0 for all.
        top_p: Draw only from the most probable tokens whose probabilities add up to p; 1 for all.
        min_p: Draw only from tokens at least this share as probable as the most probable one; 0 leaves it to the
            model's generation config.
        repetition_penalty: Divides the score of each token that the text has already, or multiplies it where it is
            negative: above 1 such tokens become less probable. It acts with and without sampling.
        seed: Of the draw.
        streamer: Handed to ``generate``, which tells it each token at once; batches must be of one prompt.
        stopping_criteria: Handed to ``generate``, which asks them after each token whether to stop.

    Returns:
        The prompts and their continuations, in order, without special tokens.

    Raises:
        ValueError: If a prompt is empty, or too long for the context with ``max_new_tokens`` added, or an argument is
            out of its range.
    """
    check_whole_number("max_new_tokens", max_new_tokens)
    check_sampling(repetition_penalty=repetition_penalty)
    arguments: dict[str, Any] = {"repetition_penalty": float(repetition_penalty), "do_sample": do_sample, **ONE_TEXT}
    if do_sample:
        check_sampling(temperature, top_k, top_p, min_p=min_p)
        arguments |= {"temperature": float(temperature), "top_k": top_k, "top_p": float(top_p)}
        arguments |= {"min_p": float(min_p)} if min_p else {}
    generate: Any = model.generate  # a mixin that PreTrainedModel's type does not name
    texts: list[str] = []
    with drawing_from(seed, model.device), evaluation_mode(model):
        for start in range(0, max(len(prompts), 1), batch_size):
            inputs = _encode(model, tokenizer, prompts[start : start + batch_size], max_new_tokens)
            output = generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.eos_token_id,
                streamer=streamer,
                stopping_criteria=stopping_criteria,
                **arguments,
            )
            rows = [row[int((mask == 0).sum()) :] for row, mask in zip(output, inputs["attention_mask"], strict=True)]
            texts += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return texts


class SamplingStep(NamedTuple):
    """The next token's probabilities once one more sampling argument was applied.

    Attributes:
        name: The argument and its value, or ``as it is`` before any.
        left: How many tokens can still be drawn.
        best: Pairs of token text and probability; a token that was cut off has probability 0.
    """

    name: str
    left: int
    best: list[tuple[str, float]]


def sampling_steps(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    show: int = 10,
) -> list[SamplingStep]:
    """What each sampling argument does to the choice of the next token, one after the other as ``generate`` does.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: The text to continue.
        temperature: As in ``generate_texts``, like the next four; applied second.
        top_k: Applied third.
        top_p: Applied fourth.
        min_p: Applied last.
        repetition_penalty: Applied first.
        show: How many tokens to return.

    Returns:
        Five steps: the model's own probabilities, and those after each argument but ``min_p``; one more for ``min_p``
        where it is not 0, and for it, ``typical_p`` and ``epsilon_cutoff`` where the model's generation config has
        them, since ``generate`` applies them too. All have the same tokens, the most probable first by the model's own
        probabilities.

    Raises:
        ValueError: As ``generate_texts``.
    """
    check_sampling(temperature, top_k, top_p, repetition_penalty, min_p)
    inputs = _encode(model, tokenizer, [prompt], 1)
    arguments = {
        f"repetition_penalty {repetition_penalty:g}": RepetitionPenaltyLogitsProcessor(float(repetition_penalty)),
        f"temperature {temperature:g}": TemperatureLogitsWarper(float(temperature)),
        f"top_k {top_k}": TopKLogitsWarper(top_k) if top_k else None,
        f"top_p {top_p:g}": TopPLogitsWarper(float(top_p)) if top_p < 1 else None,
        **_later_filters(model, min_p),
    }
    with evaluation_mode(model):
        scores: torch.Tensor = model(**inputs).logits[:, -1].float()
    best = scores[0].topk(min(show, scores.shape[-1])).indices
    texts = [str(tokenizer.decode([token])) for token in best.tolist()]
    steps = []
    for name, apply in {"as it is": None, **arguments}.items():
        scores = scores if apply is None else apply(inputs["input_ids"], scores)
        kept = torch.softmax(scores[0], dim=-1)
        pairs = list(zip(texts, kept[best].tolist(), strict=True))
        steps.append(SamplingStep(name, int((scores[0] > -math.inf).sum()), pairs))
    return steps


def _later_filters(model: PreTrainedModel, min_p: float) -> dict[str, Any]:
    values = {name: getattr(model.generation_config, name, None) for name in _LATER_FILTERS}
    values["min_p"] = min_p or values["min_p"]
    on = {name: value for name, value in values.items() if value and (value < 1 or name == "min_p")}
    return {f"{name} {value:g}": _LATER_FILTERS[name](value) for name, value in on.items()}


def next_token_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, **arguments: Any
) -> list[tuple[str, float]]:
    """The last of the ``sampling_steps``: pairs of token text and probability, as all arguments leave them."""
    return sampling_steps(model, tokenizer, prompt, **arguments)[-1].best
