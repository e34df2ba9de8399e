"""What a model has to be, and is made to be, before PyTorch trains it."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation

from clmkit.hub.models import check_causal as check_causal
from clmkit.tokenization import check_vocabulary
from clmkit.training.generation_config import make_savable


def load_model(folder: str | Path, name: str = "") -> PreTrainedModel:
    """Load a causal language model all of whose weights are in its files: ``AutoModelForCausalLM.from_pretrained``.

    That one draws weights that are missing at random, and goes on with a report.

    Args:
        folder: Where the model lies.
        name: What it is called in an error; by default the folder.

    Raises:
        ValueError: If weights are missing, or have other shapes than the configuration says.
    """
    # With what it found beside the model, which its type does not say.
    both: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, ignore_mismatched_sizes=True)
    model: PreTrainedModel = both[0]
    found: dict[str, Any] = both[1]
    missing = sorted(found["missing_keys"])
    others = sorted(key if isinstance(key, str) else key[0] for key in found["mismatched_keys"])
    for lost, what in ((missing, "no weights for"), (others, "weights of another shape than config.json says for")):
        if lost:
            more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
            raise ValueError(
                f"{name or str(folder)!r} has {what} {lost[0]}{more}, which would be drawn at random: take a causal "
                "language model that was saved whole, with its head, and its own config.json"
            )
    return model


def prepare_to_train(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the weights that are trained float32, and the model one that can be saved; refuse a tokenizer too large.

    Half precision has two or three digits: most steps of training are smaller than the last of them, and are lost.
    What is frozen becomes float32 too, since one layer's output is the next one's input; with an adapter (PEFT), which
    sees to that, it stays as it is stored. GPT-2's GELU is fused, as by ``fuse_gelu``.

    Args:
        model: Is changed. Its generation config loses what would keep it from being saved, as by ``make_savable``.
        tokenizer: The model's.

    Raises:
        ValueError: If the tokenizer has more tokens than the model has embeddings, all weights are frozen, or as
            ``check_causal`` and ``make_savable``.
    """
    check_causal(model.config)
    embedding: Any = model.get_input_embeddings()
    check_vocabulary(tokenizer, len(embedding.weight))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("every weight of the model is frozen (requires_grad=False), so that training would do nothing")
    adapted = hasattr(model, "peft_config")
    for parameter in model.parameters():
        if (parameter.requires_grad or not adapted) and parameter.is_floating_point():
            parameter.data = parameter.data.float()
    model.config.dtype = torch.float32
    fuse_gelu(model)
    if model.generation_config is not None:
        make_savable(model.generation_config)


def fuse_gelu(model: PreTrainedModel) -> int:
    """Let a model compute GPT-2's GELU in one operation of PyTorch, where Transformers composes it of eight.

    The formula is the same (Hendrycks and Gimpel, 2016, arXiv 1606.08415, section 2, with tanh), and so are the
    numbers, but for the last digits of float32. Each of the eight reads and writes all activations: on two CPU cores
    a training step of the bundled model takes a tenth less time without them. What is saved stays the same.

    Returns:
        In how many layers it was exchanged; 0 for a model with another activation.
    """
    layers = [module for module in model.modules() if isinstance(getattr(module, "act", None), NewGELUActivation)]
    for layer in layers:
        layer.act = torch.nn.GELU(approximate="tanh")
    return len(layers)
