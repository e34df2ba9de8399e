"""What the Trainer makes by itself later: whether it can be made, said before anything is computed."""

from copy import copy
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, SchedulerType, Trainer, TrainingArguments, get_scheduler


def check_parts(args: TrainingArguments, model: PreTrainedModel) -> None:
    """Raise a ValueError unless what the Trainer makes later can be made: schedule, optimizer, compiler, checkpoints.

    Of some arguments for them the Trainer would say nothing: its AdamW does not look at ``optim_args``.

    Raises:
        ImportError: If the optimizer is of a package that is not installed.
    """
    _check_schedule(args)
    if not all("=" in part for part in (args.optim_args or "=").split(",")):
        raise ValueError(f"optim_args must be text such as 'momentum=0.9,nesterov=True', not {args.optim_args!r}")
    made = _optimizer(args, model)
    for name in ("optim_args", "optim_target_modules"):
        without = copy(args)
        setattr(without, name, None)
        if getattr(args, name) and made == _optimizer(without, model):
            optim = getattr(args.optim, "value", args.optim)
            raise ValueError(f"--{name} {getattr(args, name)} would change nothing with --optim {optim}")
    if args.torch_compile:
        how: Any = {"backend": args.torch_compile_backend, "mode": args.torch_compile_mode}
        try:
            torch.compile(torch.nn.Identity(), **how)
        except RuntimeError as error:
            raise ValueError(f"torch_compile with {how}: {error}") from error
    options: Any = args.gradient_checkpointing_kwargs or {}
    try:
        checkpoint(torch.sin, torch.zeros(1), **{"use_reentrant": False, **options})
    except (TypeError, ValueError) as error:
        raise ValueError(f"activation_checkpointing_kwargs {options} do not fit: {error}") from error


def _check_schedule(args: TrainingArguments) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
    steps: dict[str, Any] = {"num_warmup_steps": 0, "num_training_steps": 1}
    options: Any = args.lr_scheduler_kwargs or {}
    kind = SchedulerType(args.lr_scheduler_type)
    try:
        get_scheduler(kind, optimizer, **steps, scheduler_specific_kwargs=dict(options))
    except TypeError as error:
        raise ValueError(f"lr_scheduler_kwargs {options} do not fit {kind.value}: {error}") from error


def _optimizer(args: TrainingArguments, model: PreTrainedModel) -> Any:
    return Trainer.get_optimizer_cls_and_kwargs(args, model)
