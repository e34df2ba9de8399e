"""A look inside a model: what becomes of a prompt on its way to the scores of the next token."""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from clmkit.evaluation import evaluation_mode
from clmkit.messages import drawn, label
from clmkit.widgets.plots import BLUE, show


def plot_inside(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> None:
    """Draw the embeddings of a prompt's tokens, where each token looks, and the best scores for the next token.

    Args:
        model: A causal language model. Its attention is computed in the form that gives the weights out, for this once.
        tokenizer: Its tokenizer.
        prompt: A handful of words.
    """
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    tokens = [repr(tokenizer.decode([token])) for token in inputs["input_ids"][0].tolist()]
    output = _run(model, inputs)
    vectors = output.hidden_states[0][0].float().cpu()
    weights = output.attentions[0][0].float().mean(dim=0).cpu()  # of the first block, the mean of its heads
    best = output.logits[0, -1].float().topk(8)
    names = [repr(tokenizer.decode([token])) for token in best.indices.tolist()]

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    title = drawn("1. Embeddings of {count} numbers", count=vectors.shape[1])
    _grid(left, vectors, tokens, title=title, xlabel=drawn("number"))
    left.set_aspect("auto")
    title = drawn("2. Attention, block 1 of {count}", count=len(output.attentions))
    _grid(middle, weights, tokens, title=title, xlabel=drawn("looks at"))
    middle.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", rotation_mode="anchor")
    right.barh(names, best.values.tolist(), color=BLUE)
    right.invert_yaxis()
    title = drawn("3. Scores (of {count:,})", count=output.logits.shape[-1])
    right.set(title=title, xlabel=drawn("score"), ylabel=drawn("next token"))
    figure.suptitle(drawn("From {prompt!r} to the scores of the next token", prompt=prompt))
    show(figure, _in_words(prompt, tokens, weights, names, output))


def _run(model: PreTrainedModel, inputs: Any) -> Any:
    """The model's output with its attention weights, which the fast implementations do not give out."""
    usual = model.config._attn_implementation  # private to transformers, which tells it nowhere else; a test names it
    model.set_attn_implementation("eager")
    try:
        with evaluation_mode(model):
            return model(**inputs, output_attentions=True, output_hidden_states=True)
    finally:
        model.set_attn_implementation(usual)


def _grid(axes: Axes, values: torch.Tensor, tokens: list[str], *, title: str, xlabel: str) -> None:
    axes.imshow(values.numpy(), cmap="Blues", aspect="equal", interpolation="nearest")
    axes.set(title=title, xlabel=xlabel, ylabel=drawn("token"))
    axes.set_yticks(range(len(tokens)), tokens)


def _in_words(prompt: str, tokens: list[str], weights: torch.Tensor, names: list[str], output: Any) -> str:
    best = [tokens[int(row.argmax())] for row in weights]
    looks = [
        label("{token} mostly at {other}", token=one, other=other) for one, other in zip(tokens, best, strict=True)
    ]
    return label(
        "Three panels for the prompt {prompt!r}. The embedding of each of its {tokens} tokens, {numbers} numbers, "
        "as a row of shades. The attention of the first of {blocks} blocks, a triangle, since no token looks to its "
        "right: {looks}. The highest of {scores:,} scores: {names}.",
        prompt=prompt,
        tokens=len(tokens),
        numbers=output.hidden_states[0].shape[-1],
        blocks=len(output.attentions),
        looks=label(", ").join(looks),
        scores=output.logits.shape[-1],
        names=label(", ").join(names),
    )
