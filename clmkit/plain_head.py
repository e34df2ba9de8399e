"""The loss of a batch without its logits, which a large vocabulary makes larger than all that the layers hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy, linear
from transformers import PreTrainedModel

ROWS = 256  # positions whose logits are there at once
LARGEST = 100.0  # a logit far above where any model caps them


@contextmanager
def before_head(head: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Hold what a model hands to its output head, which meanwhile sees the last position alone.

    Args:
        head: The model's ``get_output_embeddings()``.

    Yields:
        A list to which each forward pass of the model adds the hidden states: (blocks, positions, width).
    """
    held: list[torch.Tensor] = []

    def hold(hidden: torch.Tensor) -> torch.Tensor:
        held.append(hidden)
        return hidden[:, -1:]

    with _exchanged(head, hold):
        yield held


@contextmanager
def _exchanged(head: torch.nn.Module, exchange: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Let a head take something else than what it is handed; afterwards, also after an error, it is as it was."""

    def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (exchange(inputs[0]), *inputs[1:])

    handle = head.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def plain_head(model: PreTrainedModel) -> torch.nn.Linear | None:
    """The output head, if a model's logits are what it makes of the hidden states and nothing else.

    Gemma 2 caps its logits and Cohere scales them. So the head is handed numbers that make large logits, and the
    model's own have to be the same. A head that is no ``torch.nn.Linear``, or whose weights are sharded, quantized or
    on another device, is not plain either, nor is one of a model that is compiled.

    Args:
        model: A causal language model of Transformers in evaluation mode, without gradients.

    Returns:
        The head; ``None`` where the loss has to be had from the model's own logits.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or type(head.weight) is not torch.nn.Parameter:
        return None
    whole = head.weight.shape == (head.out_features, head.in_features) and head.weight.device == model.device
    if not whole or _is_compiled(model):
        return None
    ids = torch.zeros((1, 3), dtype=torch.long, device=model.device)
    numbers = torch.linspace(-1, 1, 3 * head.in_features, device=model.device).view(1, 3, -1).to(head.weight.dtype)
    numbers *= LARGEST / linear(numbers, head.weight, head.bias).abs().max()
    logits = linear(numbers, head.weight, head.bias)
    seen: list[torch.Size] = []

    def exchange(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden.shape)
        return numbers

    with _exchanged(head, exchange):
        own = model(input_ids=ids).logits
    return head if seen == [numbers.shape] and _equal(own, logits) else None


def _is_compiled(model: torch.nn.Module) -> bool:
    """Whether any part is: what is compiled takes no notice of a hook that comes or goes.

    ``torch.compile`` wraps a module, which it calls ``_orig_mod``; a module's own ``compile`` sets the other attribute.
    Both names are private; a test names them.
    """
    wrapped = any(name.endswith("_orig_mod") for name, _ in model.named_modules())
    return wrapped or any(part._compiled_call_impl is not None for part in model.modules())


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have one shape and, but for rounding, the same numbers."""
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), rtol=1e-3, atol=1e-3)


def summed_loss(head: torch.nn.Linear, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of all next tokens, summed, with the logits of ``ROWS`` positions there at a time.

    Args:
        head: As ``plain_head`` gives it.
        hidden: What goes into it: (blocks, positions, width).
        labels: The tokens, not yet shifted: (blocks, positions); those of -100 don't count.

    Returns:
        One number in nats, float32, without gradients: these would keep all logits.
    """
    rows, wanted = hidden[:, :-1].flatten(0, 1).split(ROWS), labels[:, 1:].flatten().split(ROWS)
    total = torch.zeros((), device=hidden.device)
    with torch.no_grad():
        for some, tokens in zip(rows, wanted, strict=True):
            total += cross_entropy(head(some).float(), tokens, ignore_index=-100, reduction="sum")
    return total
