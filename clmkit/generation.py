"""Continue a prompt, and look at what the sampling arguments do to the choice of the next token."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    set_seed,
)

from clmkit.evaluation import evaluation_mode


def _encode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], new_tokens: int
) -> dict[str, Any]:
    """Tokenize prompts for the model's device, and make sure that each and what follows fit into the context.

    Shorter prompts are filled up on the left, so that all end where the new tokens begin.
    """
    empty = [number for number, prompt in enumerate(prompts) if not isinstance(prompt, str) or not prompt.strip()]
    if empty or not prompts:
        which = f" (number {empty[0]})" if len(prompts) > 1 else ""
        raise ValueError(f"the prompt{which} is empty: give the model at least a word to continue")
    documents = [torch.tensor(ids) for ids in tokenizer(list(prompts), verbose=False)["input_ids"]]
    length, context = max(map(len, documents)), model.config.max_position_embeddings
    if length + new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens and {new_tokens} more are to come, but the model's context "
            f"holds {context}: shorten the prompt or ask for fewer new tokens"
        )
    columns = {"input_ids": documents, "attention_mask": [torch.ones_like(ids) for ids in documents]}
    return {
        name: pad_sequence(rows, batch_first=True, padding_side="left").to(model.device)
        for name, rows in columns.items()
    }


def check_sampling(temperature: float, top_k: int, top_p: float) -> None:
    """Raise a ValueError that says what is allowed, unless all three are."""
    if not temperature > 0:
        raise ValueError(
            f"temperature must be above 0, not {temperature}: for no randomness at all pass do_sample=False"
        )
    if not isinstance(top_k, int) or top_k < 0:
        raise ValueError(f"top_k must be a whole number of 0 or more (0 keeps every token), not {top_k!r}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1 (1 keeps every token), not {top_p}")


def generate_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, **arguments: Any) -> str:
    """Continue a prompt (the guide's step "Inference": tokenizer, then ``generate`` with these very arguments).

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: The text to continue.
        **arguments: As for ``generate_texts``.

    Returns:
        The prompt and its continuation, without special tokens.

    Raises:
        ValueError: As ``generate_texts``.
    """
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
    seed: int = 42,
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
        seed: Of the draw.

    Returns:
        The prompts and their continuations, in order, without special tokens.

    Raises:
        ValueError: If a prompt is empty, or too long for the context with ``max_new_tokens`` added, or an argument is
            out of its range.
    """
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be a whole number of 1 or more, not {max_new_tokens!r}")
    sampling: dict[str, Any] = {}
    if do_sample:
        check_sampling(temperature, top_k, top_p)
        sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    batches = [prompts[start : start + batch_size] for start in range(0, max(len(prompts), 1), batch_size)]
    set_seed(seed)
    generate: Any = model.generate  # a mixin that PreTrainedModel's type does not name
    texts: list[str] = []
    with evaluation_mode(model):
        for batch in batches:
            inputs = _encode(model, tokenizer, batch, max_new_tokens)
            output = generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=do_sample,
                pad_token_id=tokenizer.eos_token_id,
                **sampling,
            )
            filled = (inputs["attention_mask"] == 0).sum(dim=1).tolist()
            rows = [row[places:] for row, places in zip(output, filled, strict=True)]
            texts += tokenizer.batch_decode(rows, skip_special_tokens=True)
    return texts


def next_token_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    show: int = 10,
) -> list[tuple[str, float]]:
    """The most probable next tokens after a prompt, as the sampling arguments leave them.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: The text to continue.
        temperature: As in ``generate_texts``; applied first, as ``generate`` does.
        top_k: As in ``generate_texts``; applied second.
        top_p: As in ``generate_texts``; applied last.
        show: How many tokens to return.

    Returns:
        Pairs of token text and probability, the most probable first; tokens that were cut off have probability 0.

    Raises:
        ValueError: As ``generate_texts``.
    """
    check_sampling(temperature, top_k, top_p)
    inputs = _encode(model, tokenizer, [prompt], 1)
    steps = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        steps.append(TopPLogitsWarper(top_p))
    with evaluation_mode(model):
        raw: torch.Tensor = model(**inputs).logits[:, -1].float()
    kept = torch.softmax(steps(inputs["input_ids"], raw.clone())[0], dim=-1)
    best = raw[0].topk(min(show, raw.shape[-1])).indices
    return [(str(tokenizer.decode([token])), float(kept[token])) for token in best.tolist()]
