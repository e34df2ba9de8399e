"""The fields of ``TrainingArguments``: what each may be, so that what can't be is said before anything is computed."""

import difflib
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from functools import cache
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, SchedulerType, Trainer, TrainingArguments, get_scheduler
from transformers.utils import logging

from clmkit.tracks import Track, choose_track

# What people know from other versions or programs, and what does it here.
RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps, where a number below 1 is a share",
    "no_cuda": "use_cpu",
    "use_mps_device": "left out: Apple's GPU is taken where there is one",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "eval_batch_size": "per_device_eval_batch_size",
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "steps": "max_steps",
    "group_by_length": "train_sampling_strategy",
    "overwrite_output_dir": "an output_dir of its own",
    "logging_dir": "TENSORBOARD_LOGGING_DIR in the environment",
    "push_to_hub_model_id": "hub_model_id",
    "push_to_hub_token": "hub_token",
    "include_tokens_per_second": "include_num_input_tokens_seen",
    "include_inputs_for_metrics": "include_for_metrics",
    "half_precision_backend": "fp16 or bf16",
    "fp16_backend": "fp16 or bf16",
    "fp16_opt_level": "fp16 or bf16",
    "torchdynamo": "torch_compile_backend",
    "save_safetensors": "left out: weights are always saved as safetensors",
}


def _whole(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _backends() -> list[str]:
    return torch.distributed.Backend.backend_list if torch.distributed.is_available() else []


class Range(NamedTuple):
    """What some fields may be: in words, as a question, and which fields they are."""

    words: str
    holds: Callable[[Any], bool]
    names: str


LEVELS = (*logging.get_log_levels_dict(), "passive")
SAMPLING = ("random", "sequential", "group_by_length")
RANGES = (
    Range(
        "a whole number of 1 or more",
        lambda value: _whole(value, 1),
        "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps torch_empty_cache_steps "
        "eval_accumulation_steps dataloader_prefetch_factor ddp_bucket_cap_mb ddp_timeout",
    ),
    Range("a whole number of 0 or more", lambda value: _whole(value, 0), "dataloader_num_workers"),
    Range("a whole number from 0 to 4294967295", lambda value: _whole(value, 0, 2**32 - 1), "seed data_seed"),
    Range(
        "a whole number of 1 or more, or -1, with which num_train_epochs counts",
        lambda value: _whole(value, 1) or (_whole(value) and value == -1),
        "max_steps",
    ),
    Range(
        "a number above 0",
        lambda value: _finite(value) and value > 0,
        "num_train_epochs learning_rate adam_epsilon logging_steps eval_steps save_steps",
    ),
    Range(
        "a number of 0 or more",
        lambda value: _finite(value) and value >= 0,
        "warmup_steps weight_decay max_grad_norm eval_delay neftune_noise_alpha",
    ),
    Range(
        "a number from 0 to 1, and less than 1",
        lambda value: _finite(value) and 0 <= value < 1,
        "adam_beta1 adam_beta2 label_smoothing_factor",
    ),
    Range(
        "the path of a folder", lambda value: isinstance(value, str | os.PathLike) and bool(str(value)), "output_dir"
    ),
    Range("one of " + ", ".join(LEVELS), lambda value: value in LEVELS, "log_level log_level_replica"),
    Range("one of " + ", ".join(SAMPLING), lambda value: value in SAMPLING, "train_sampling_strategy"),
    Range(
        "all, non_padding or no",
        lambda value: value in ("all", "non_padding", "no", True, False),
        "include_num_input_tokens_seen",
    ),
    Range("['labels'], which is what blocks have", lambda value: value == ["labels"], "label_names"),
    Range(
        "a way to talk that PyTorch knows, such as nccl or gloo",
        lambda value: value in _backends(),
        "ddp_backend",
    ),
)
RANGE_OF = {name: kind for kind in RANGES for name in kind.names.split()}
# Fields that do something only beside one of others.
NEEDS = {
    "fsdp_config": ("fsdp",),
    "liger_kernel_config": ("use_liger_kernel",),
    "activation_checkpointing_kwargs": ("activation_checkpointing", "gradient_checkpointing"),
    "gradient_checkpointing_kwargs": ("activation_checkpointing", "gradient_checkpointing"),
}
ALSO = {"fsdp": (bool, list), "resume_from_checkpoint": (bool,)}  # which they take, whatever their annotation says
TYPE_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", NoneType: "None"}


def fill_in(track: Track, course: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the course and the track, and above them those that are given, with what they imply.

    Args:
        track: Gives epochs, learning rate and output folder.
        course: Arguments that hold where no others are given.
        arguments: The given ones. ``eval_steps`` or ``save_steps`` alone say that steps are what counts; the best
            model is that of the lowest perplexity; and a ``~`` in the output folder is the home.
    """
    of_track = {"output_dir": track.output_dir, "num_train_epochs": track.epochs, "learning_rate": track.learning_rate}
    implied: dict[str, Any] = {
        f"{what}_strategy": "steps" for what in ("eval", "save") if arguments.get(f"{what}_steps") is not None
    }
    if str(arguments.get("metric_for_best_model")).endswith("perplexity"):
        implied["greater_is_better"] = False  # transformers takes the greatest of all that is no loss
    for asked, other in (("fp16", "bf16"), ("bf16", "fp16")):
        if arguments.get(asked):
            implied[other] = False  # what the hardware would take
    filled = {**of_track, **course, **implied, **arguments}
    if filled.get("ddp_backend") in _backends() and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        filled["ddp_backend"] = None  # with nobody to talk to, it would be an error
    if isinstance(filled["output_dir"], str):
        filled["output_dir"] = os.path.expanduser(filled["output_dir"])
    return filled


def check_fields(arguments: Mapping[str, Any], metrics: Collection[str] | None) -> None:
    """Raise a ValueError unless each argument is a field of ``TrainingArguments`` with a value that it may have.

    Args:
        arguments: As ``fill_in`` gives them.
        metrics: What an evaluation measures; ``None`` if that is not known.
    """
    hints = _hints()
    for name, value in arguments.items():
        if name not in hints:
            of_track = f": it is the track's, choose_track({name}=...)" * (name in signature(choose_track).parameters)
            raise ValueError(f"TrainingArguments have no field {name!r}{of_track or hint_at(name, hints)}")
        _check_value(name, value, hints[name])
    for name, others in NEEDS.items():
        if arguments.get(name) and not any(arguments.get(other) for other in others):
            raise ValueError(f"{name} {arguments[name]} would change nothing without {' or '.join(others)}")
    if arguments.get("length_column_name", "length") != "length" and not (
        arguments.get("train_sampling_strategy") == "group_by_length"
    ):
        raise ValueError("length_column_name would change nothing without train_sampling_strategy='group_by_length'")
    if "tpu_metrics_debug" in str(arguments.get("debug")):
        raise ValueError("debug='tpu_metrics_debug' needs a TPU, on which nothing of the course runs: leave it out")
    _check_best(arguments, metrics)


def _check_best(arguments: Mapping[str, Any], metrics: Collection[str] | None) -> None:
    """Refuse to look for a best model by what is not measured, or never."""
    metric = arguments.get("metric_for_best_model")
    best = bool(arguments.get("load_best_model_at_end")) or arguments.get("save_strategy") == "best"
    if best and arguments.get("eval_strategy") == "no":
        raise ValueError("the best model is found by evaluations, of which eval_strategy='no' leaves none: change one")
    if metrics is not None and metric is not None and metric.removeprefix("eval_") not in metrics:
        raise ValueError(f"metric_for_best_model can't be {metric!r}: what is measured here is {' and '.join(metrics)}")


def hint_at(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: what it is called here, or which name is like it, if any is."""
    if name in RENAMED:
        return f": here it is {RENAMED[name]}"
    close = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


@cache
def _hints() -> dict[str, Any]:
    hints = get_type_hints(TrainingArguments)
    return {name: hints[name] for name in signature(TrainingArguments).parameters}


def _check_value(name: str, value: Any, hint: Any) -> None:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if value is None and NoneType in kinds and name != "output_dir":
        return
    if name in RANGE_OF:
        words, holds = RANGE_OF[name].words, RANGE_OF[name].holds(value)
    else:
        words = " or ".join(TYPE_NAMES.get(kind) or str(getattr(kind, "__name__", kind)) for kind in kinds)
        holds = isinstance(value, ALSO.get(name, ())) or any(_is_of(value, kind) for kind in kinds)
    if not holds:
        raise ValueError(f"{name} must be {words}, not {value!r}{_instead(name)}")
    if dict in {get_origin(kind) or kind for kind in kinds} and isinstance(value, str):
        _check_json(name, value)


def _instead(name: str) -> str:
    """How to go without what is done every so many steps."""
    what, _, unit = name.partition("_")
    return f"; {what}_strategy='no' goes without" if unit == "steps" and what in ("eval", "save", "logging") else ""


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    checks: dict[Any, Callable[[Any], bool]] = {int: _whole, float: _finite, Any: lambda _: True}
    return checks.get(kind, lambda value: isinstance(value, get_origin(kind) or kind))(value)


def _check_json(name: str, text: str) -> None:
    if text.startswith("{"):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name} is no JSON: {error}: {text}") from error
    elif not Path(text).is_file():
        raise ValueError(f'{name} must be a dict, JSON such as {{"a": 1}}, or a JSON file, not {text!r}')


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
