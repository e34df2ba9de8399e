"""The arguments of an unattended run: each is honoured, or refused before anything is computed."""

import inspect
import os
from collections.abc import Mapping
from copy import copy
from typing import Any

import torch
from transformers import PreTrainedModel, SchedulerType, Trainer, TrainingArguments, get_scheduler

from clmkit.kernels import has_gpu
from clmkit.scale.streams import Stream
from clmkit.tracks import Track
from clmkit.training.pytorch import COURSE_ARGUMENTS

# A stream has no epochs to log, evaluate and save by.
STREAM_ARGUMENTS = {"eval_strategy": "steps", "eval_steps": 0.1, "save_strategy": "steps", "save_steps": 0.1}

PREDICTIONS = "a run is scored by its summed loss, and no predictions are kept"
# Why a run can't honour a field of TrainingArguments that has another value than these.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "resume_from_checkpoint": ((None, False), "a run goes on from its last whole checkpoint by itself"),
    "save_only_model": ((False,), "a run can't go on from checkpoints without the optimizer's state"),
    "enable_jit_checkpoint": ((False,), "a run saves at SIGTERM by itself"),
    "dataloader_persistent_workers": ((False,), "workers that persist would keep the order of the first epoch"),
    "dataloader_drop_last": ((False,), "blocks that do not fill the last step are trained on, in a smaller step"),
    "train_sampling_strategy": (("random",), "blocks of one length come in a new random order in every epoch"),
    "accelerator_config": ((None,), "blocks are dealt out to the processes by the run itself"),
    "parallelism_config": ((None,), "processes share the blocks, and a model by FSDP alone"),
    "deepspeed": ((None,), "processes share a model by FSDP alone"),
    "bf16_full_eval": ((False,), "a model is scored in the precision of its weights"),
    "fp16_full_eval": ((False,), "a model is scored in the precision of its weights"),
    "batch_eval_metrics": ((False,), PREDICTIONS),
    "include_for_metrics": ((None, []), PREDICTIONS),
    "eval_accumulation_steps": ((None,), PREDICTIONS),
    "eval_use_gather_object": ((False,), PREDICTIONS),
    "eval_do_concat_batches": ((True,), PREDICTIONS),
    "do_train": ((True,), "a run trains; `evaluate` and `generate` are commands of their own"),
    "do_predict": ((False,), "a run trains; `generate` is a command of its own"),
    "hub_strategy": (("every_save", "end"), "checkpoints are not uploaded"),
    "hub_always_push": ((False,), "an upload is not begun before the last one has ended"),
    "hub_revision": ((None, "main"), "a model is pushed to the branch main"),
}


def complete(track: Track, stream: Stream | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the arguments what has to be known before there is a Trainer.

    Args:
        track: What to train, and on what.
        stream: Given if the data are to be read while training.
        arguments: Fields of ``TrainingArguments``.

    Raises:
        ValueError: If one of them can't be honoured; the message says why.
    """
    known = inspect.signature(TrainingArguments).parameters
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(f"TrainingArguments have no field {name!r}")
        honoured, why = REFUSED.get(name, ((value,), ""))
        if value not in honoured:
            raise ValueError(f"{why}: leave out --{name} {value}")
    # Without being told, the Trainer does not see the other processes on a machine without a GPU.
    before = {"use_cpu": not has_gpu(), "output_dir": track.output_dir}
    before["save_total_limit"] = COURSE_ARGUMENTS["save_total_limit"]
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        arguments = {**arguments, "ddp_backend": None}  # with nobody to talk to, it would be an error
    if stream is None:
        return {**before, **arguments}
    if arguments.get("max_steps", -1) < 1:
        raise ValueError("nobody knows how long a stream is: say how many steps to train by --max_steps")
    if arguments.get("dataloader_num_workers"):
        raise ValueError("a stream is read by the process that trains: leave --dataloader_num_workers at 0")
    return {**before, **STREAM_ARGUMENTS, **arguments, "ignore_data_skip": True}


def check_optimizer(args: TrainingArguments, model: PreTrainedModel) -> None:
    """Raise a ValueError unless optimizer and schedule take the arguments for them, as they say only when they start.

    Of some of them the Trainer would say nothing: its AdamW does not look at ``optim_args``.
    """
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
    steps: dict[str, Any] = {"num_warmup_steps": 0, "num_training_steps": 1}
    options: Any = args.lr_scheduler_kwargs or {}
    kind = SchedulerType(args.lr_scheduler_type)
    try:
        get_scheduler(kind, optimizer, **steps, scheduler_specific_kwargs=dict(options))
    except TypeError as error:
        raise ValueError(f"lr_scheduler_kwargs {options} do not fit {kind.value}: {error}") from error
    for name in ("optim_args", "optim_target_modules"):
        without = copy(args)
        setattr(without, name, None)
        if getattr(args, name) and _optimizer(args, model) == _optimizer(without, model):
            optim = getattr(args.optim, "value", args.optim)
            raise ValueError(f"--{name} {getattr(args, name)} would change nothing with --optim {optim}")


def _optimizer(args: TrainingArguments, model: PreTrainedModel) -> Any:
    return Trainer.get_optimizer_cls_and_kwargs(args, model)
