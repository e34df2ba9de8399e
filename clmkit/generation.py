"""Continue a prompt, and look at what the sampling arguments do to the choice of the next token."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from clmkit.evaluation import evaluation_mode
from clmkit.prompts import continue_prompts, encode_prompts, one_text, pad_left
from clmkit.tracks import check_whole_number

# The field of each processor of scores that generate may apply, in its order.
FIELD_OF = {
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "guidance_scale",
    "SequenceBiasLogitsProcessor": "sequence_bias",
    "EncoderRepetitionPenaltyLogitsProcessor": "encoder_repetition_penalty",
    "RepetitionPenaltyLogitsProcessor": "repetition_penalty",
    "NoRepeatNGramLogitsProcessor": "no_repeat_ngram_size",
    "EncoderNoRepeatNGramLogitsProcessor": "encoder_no_repeat_ngram_size",
    "NoBadWordsLogitsProcessor": "bad_words_ids",
    "MinLengthLogitsProcessor": "min_new_tokens",
    "InfNanRemoveLogitsProcessor": "remove_invalid_values",
    "ExponentialDecayLengthPenalty": "exponential_decay_length_penalty",
    "SuppressTokensLogitsProcessor": "suppress_tokens",
    "SuppressTokensAtBeginLogitsProcessor": "begin_suppress_tokens",
    "TemperatureLogitsWarper": "temperature",
    "TopHLogitsWarper": "top_h",
    "TopKLogitsWarper": "top_k",
    "TopPLogitsWarper": "top_p",
    "MinPLogitsWarper": "min_p",
    "TypicalLogitsWarper": "typical_p",
    "EpsilonLogitsWarper": "epsilon_cutoff",
    "EtaLogitsWarper": "eta_cutoff",
    "WatermarkLogitsProcessor": "watermarking_config",
    "SynthIDTextWatermarkLogitsProcessor": "watermarking_config",
    "LogitNormalization": "renormalize_logits",
}
ALWAYS_SHOWN = ("repetition_penalty", "temperature", "top_k", "top_p")  # also where they change nothing


def check_sampling(
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    min_p: float = 0.0,
) -> None:
    """Raise a ValueError that says what is allowed, unless all five are."""
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise ValueError(
            f"temperature must be above 0 and finite, not {temperature}: for no randomness pass do_sample=False"
        )
    if type(top_k) is not int or top_k < 0:
        raise ValueError(f"top_k must be a whole number of 0 or more (0 keeps every token), not {top_k!r}")
    if not _is_number(top_p) or not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1 (1 keeps every token), not {top_p}")
    if not _is_number(min_p) or not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1 (0 keeps every token), not {min_p}")
    if not _is_number(repetition_penalty) or not 0 < repetition_penalty < math.inf:
        raise ValueError(
            "repetition_penalty must be above 0 and finite (1 changes nothing, more than 1 avoids what the text has "
            f"already), not {repetition_penalty}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _sampling_arguments(
    temperature: float, top_k: int, top_p: float, min_p: float, repetition_penalty: float
) -> dict[str, Any]:
    """The arguments of ``generate`` to draw by."""
    check_sampling(temperature, top_k, top_p, repetition_penalty, min_p)
    arguments = {"repetition_penalty": float(repetition_penalty), "do_sample": True}
    arguments |= {"temperature": float(temperature), "top_k": top_k, "top_p": float(top_p)}
    return arguments | ({"min_p": float(min_p)} if min_p else {})


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
        ValueError: If a prompt is empty, or too long for the context with ``max_new_tokens`` added, an argument is out
            of its range, or ``prompts`` is one text and no list.
    """
    check_whole_number("max_new_tokens", max_new_tokens)
    check_whole_number("batch_size", batch_size)
    if do_sample:
        arguments = _sampling_arguments(temperature, top_k, top_p, min_p, repetition_penalty)
    else:
        check_sampling(repetition_penalty=repetition_penalty)
        arguments = {"repetition_penalty": float(repetition_penalty), "do_sample": False}
    arguments |= {"streamer": streamer, "stopping_criteria": stopping_criteria}
    documents = encode_prompts(model, tokenizer, prompts, max_new_tokens)
    arguments |= {"batch_size": batch_size, "seed": seed}
    added = continue_prompts(model, tokenizer, documents, max_new_tokens, **arguments)
    rows = [ids + more for ids, more in zip(documents, added, strict=True)]
    texts: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True)
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

    The scores are changed by what ``generate`` itself would change them by.

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
        where it is not 0, and for all else that the model's own generation config asks for, such as ``typical_p`` or
        ``suppress_tokens``, each at the place where ``generate`` applies it. All have the same tokens, the most
        probable first by the model's own probabilities.

    Raises:
        ValueError: As ``generate_texts``.
    """
    arguments = _sampling_arguments(temperature, top_k, top_p, min_p, repetition_penalty)
    inputs = pad_left(encode_prompts(model, tokenizer, [prompt], 1), model.device)
    arguments = {**one_text(model, tokenizer, inputs["input_ids"].shape[1], 1), **arguments}
    generate: Any = model.generate
    with evaluation_mode(model):
        scores: torch.Tensor = model(**inputs).logits[:, -1].float()
        # It hands over what it would apply. Where a text ends plays no part, and would take a tokenizer.
        processors = generate(**inputs, **{**arguments, "stop_strings": None}, custom_generate=_hand_over)
        best = scores[0].topk(min(show, scores.shape[-1])).indices
        texts = [str(tokenizer.decode([token])) for token in best.tolist()]
        steps = []
        for name, apply in [("as it is", None), *_in_order(processors)]:
            scores = scores if apply is None else apply(inputs["input_ids"], scores)
            kept = torch.softmax(scores[0], dim=-1)
            title = _title(name, arguments.get(name, getattr(model.generation_config, name, None)))
            pairs = list(zip(texts, kept[best].tolist(), strict=True))
            steps.append(SamplingStep(title, int((scores[0] > -math.inf).sum()), pairs))
    return steps


def _hand_over(model: PreTrainedModel, input_ids: Any, logits_processor: LogitsProcessorList, **_: Any) -> Any:
    """In place of the loop of ``generate``: what it would change the scores by."""
    return logits_processor


def _in_order(processors: LogitsProcessorList) -> list[tuple[str, Any]]:
    """Each processor with the name of its field, and at their places those always shown that are not among them."""
    order = list(FIELD_OF.values())
    named: list[tuple[str, Any]] = [(FIELD_OF.get(type(one).__name__, type(one).__name__), one) for one in processors]
    for field in ALWAYS_SHOWN:
        if field not in dict(named):
            later = {name for name in order[order.index(field) :] if name != field}
            places = [place for place, (name, _) in enumerate(named) if name in later]
            named.insert(places[0] if places else len(named), (field, None))
    return named


def _title(name: str, value: Any) -> str:
    return f"{name} {value:g}" if _is_number(value) else name


def next_token_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, **arguments: Any
) -> list[tuple[str, float]]:
    """The last of the ``sampling_steps``: pairs of token text and probability, as all arguments leave them."""
    return sampling_steps(model, tokenizer, prompt, **arguments)[-1].best
