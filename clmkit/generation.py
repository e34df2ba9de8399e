"""Continue a prompt, and look at what the sampling arguments do to the choice of the next token."""

from typing import Any

import torch
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


def _encode(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, new_tokens: int) -> Any:
    """Tokenize a prompt for the model's device, and make sure that it and what follows fit into the context."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("the prompt is empty: give the model at least a word to continue")
    inputs = tokenizer(prompt, return_tensors="pt", verbose=False)
    length, context = inputs.input_ids.shape[1], model.config.max_position_embeddings
    if length + new_tokens > context:
        raise ValueError(
            f"the prompt has {length} tokens and {new_tokens} more are to come, but the model's context "
            f"holds {context}: shorten the prompt or ask for fewer new tokens"
        )
    return inputs.to(model.device)


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


def generate_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    *,
    max_new_tokens: int = 100,
    do_sample: bool = True,
    temperature: float = 1.0,
    top_k: int = 50,
    top_p: float = 0.95,
    seed: int = 42,
) -> str:
    """Continue a prompt (the guide's step "Inference": tokenizer, then ``generate`` with these very arguments).

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: The text to continue.
        max_new_tokens: How many tokens to add at most; an eos_token ends the text sooner.
        do_sample: Draw the next token by its probability; otherwise always take the most probable (greedy).
        temperature: Below 1 favours probable tokens, above 1 evens them out.
        top_k: Draw only from the k most probable tokens; 0 for all.
        top_p: Draw only from the most probable tokens whose probabilities add up to p; 1 for all.
        seed: Of the draw.

    Returns:
        The prompt and its continuation, without special tokens.

    Raises:
        ValueError: If the prompt is empty, or too long for the context with ``max_new_tokens`` added, or an argument
            is out of its range.
    """
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be a whole number of 1 or more, not {max_new_tokens!r}")
    sampling: dict[str, Any] = {}
    if do_sample:
        check_sampling(temperature, top_k, top_p)
        sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    inputs = _encode(model, tokenizer, prompt, max_new_tokens)
    set_seed(seed)
    generate: Any = model.generate  # a mixin that PreTrainedModel's type does not name
    with evaluation_mode(model):
        output = generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            pad_token_id=tokenizer.eos_token_id,
            **sampling,
        )
    return str(tokenizer.decode(output[0], skip_special_tokens=True))


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
        temperature: As in ``generate_text``; applied first, as ``generate`` does.
        top_k: As in ``generate_text``; applied second.
        top_p: As in ``generate_text``; applied last.
        show: How many tokens to return.

    Returns:
        Pairs of token text and probability, the most probable first; tokens that were cut off have probability 0.

    Raises:
        ValueError: As ``generate_text``.
    """
    check_sampling(temperature, top_k, top_p)
    inputs = _encode(model, tokenizer, prompt, 1)
    steps = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        steps.append(TopPLogitsWarper(top_p))
    with evaluation_mode(model):
        raw: torch.Tensor = model(**inputs).logits[:, -1].float()
    kept = torch.softmax(steps(inputs.input_ids, raw.clone())[0], dim=-1)
    best = raw[0].topk(min(show, raw.shape[-1])).indices
    return [(str(tokenizer.decode([token])), float(kept[token])) for token in best.tolist()]
