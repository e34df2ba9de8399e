"""A Trainer whose training never holds all logits of a batch, where PyTorch can do without them."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from accelerate.utils import DistributedType, DynamoBackend
from transformers import PreTrainedModel, Trainer

from clmkit.evaluation import evaluation_mode
from clmkit.plain_head import ROWS, before_head, plain_head, shifted

WHOLE_MODEL = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)  # and no part of it
LARGE = 16_000_000  # logits, in float32 64 MB; fewer are not what a step's memory goes to


class LinearLossTrainer(Trainer):
    """A Trainer that trains with ``torch.nn.functional.linear_cross_entropy`` where that gives the model's own loss.

    Losses and gradients are the same but for rounding. Where ``find_plain_head`` finds none, it is the Trainer.
    """

    def __init__(self, **objects: Any) -> None:
        """Make the Trainer, and look at the model once."""
        super().__init__(**objects)
        self.plain_head = find_plain_head(self)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean loss of a batch; where its logits are few or asked for, as in evaluation, the Trainer's own way."""
        head = self.plain_head
        if head is None or return_outputs or not has_many_logits(head, inputs):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        with before_head(head) as hidden:
            model(**{name: value for name, value in inputs.items() if name != "labels"})
        rows, tokens = shifted(hidden.pop(), inputs["labels"])
        loss = linear_loss(head, rows, tokens)
        if num_items_in_batch is None or not self.model_accepts_loss_kwargs:
            return loss / (tokens != -100).sum()
        if self.args.average_tokens_across_devices:  # the processes' gradients get averaged
            loss = loss * self.accelerator.num_processes
        return loss / num_items_in_batch


def has_many_logits(head: torch.nn.Linear, inputs: Mapping[str, Any]) -> bool:
    """Whether a batch, with labels that are to be shifted, has so many logits that they are worth doing without."""
    labels = inputs.get("labels")
    return labels is not None and "shift_labels" not in inputs and labels.numel() * head.out_features >= LARGE


def linear_loss(head: torch.nn.Linear, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The summed cross-entropy of tokens, of which PyTorch computes the gradients too, ``ROWS`` positions at a time."""
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=ROWS)
    how: dict[str, Any] = {"linear_bias": head.bias, "ignore_index": -100, "reduction": "sum", "options": options}
    return torch.nn.functional.linear_cross_entropy(rows, head.weight, tokens, **how)


def find_plain_head(trainer: Trainer) -> torch.nn.Linear | None:
    """The head of a Trainer's model, if the loss can be had from it in ``linear_cross_entropy``.

    That is where PyTorch has the function (2.13), on a CPU or an NVIDIA GPU, in float32 without autocast: it would sum
    up in half precision what it is given in half precision. The model is there whole and not compiled, its logits are
    plainly ``head(hidden)``, and its loss is their cross-entropy: none smoothed, none of one's own, none added.
    """
    args, model = trainer.args, cast(PreTrainedModel, trainer.model)
    others = (
        not hasattr(torch.nn.functional, "linear_cross_entropy"),
        args.device.type not in ("cpu", "cuda") or args.n_gpu > 1,
        trainer.accelerator.mixed_precision != "no",
        trainer.accelerator.distributed_type not in WHOLE_MODEL or trainer.get_tp_size() > 1,
        trainer.accelerator.state.dynamo_plugin.backend != DynamoBackend.NO or args.use_liger_kernel,
        trainer.label_smoother is not None or trainer.compute_loss_func is not None,
    )
    if any(others):
        return None
    with evaluation_mode(model):
        head = plain_head(model, with_loss=True)
    return head if head is not None and head.weight.dtype == torch.float32 else None
