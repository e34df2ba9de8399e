"""The fields of ``TrainingArguments``: what each may be, so that what can't be is said before anything is computed."""

import difflib
import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_available_reporting_integrations
from transformers.utils import logging

from clmkit.messages import _
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
NEEDS: dict[str, tuple[str, ...]] = {
    "fsdp_config": ("fsdp",),
    "liger_kernel_config": ("use_liger_kernel",),
    **dict.fromkeys(("hub_token", "hub_strategy", "hub_always_push"), ("push_to_hub",)),
    "run_name": tuple(f"report_to {one}" for one in ("wandb", "trackio", "comet_ml", "mlflow", "dagshub", "swanlab")),
}
NEEDS |= dict.fromkeys(
    ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"),
    ("activation_checkpointing", "gradient_checkpointing"),
)
NEEDS |= dict.fromkeys(
    ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"), ("report_to trackio",)
)
# How several processes talk to each other. The same words may be for one of them today and for eight tomorrow.
OF_PROCESSES: tuple[str, ...] = ("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers")
OF_PROCESSES += ("ddp_static_graph", "ddp_backend", "ddp_timeout")
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
    if arguments.get("do_eval") is False:
        implied["eval_strategy"] = "no"
    if arguments.get("load_best_model_at_end"):  # evaluated and saved are the same steps, though one of them is said
        given = {**implied, **arguments}
        for one, other in (("save", "eval"), ("eval", "save")):
            if given.get(f"{other}_strategy") in ("steps", "epoch") and f"{one}_strategy" not in given:
                pairs = {f"{one}_{part}": given.get(f"{other}_{part}") for part in ("strategy", "steps")}
                implied |= {name: value for name, value in pairs.items() if value is not None}
    if str(arguments.get("metric_for_best_model")).endswith("perplexity"):
        implied["greater_is_better"] = False  # transformers takes the greatest of all that is no loss
    for asked, other in (("fp16", "bf16"), ("bf16", "fp16")):
        if arguments.get(asked):
            implied[other] = False  # what the hardware would take
    filled = {**of_track, **course, **implied, **arguments}
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
    check_needs(arguments, NEEDS)
    if arguments.get("do_eval") is False and arguments.get("eval_strategy") != "no":
        raise ValueError(f"do_eval=False and eval_strategy={arguments['eval_strategy']!r} contradict: leave one out")
    if arguments.get("length_column_name", "length") != "length" and not (
        arguments.get("train_sampling_strategy") == "group_by_length"
    ):
        raise ValueError("length_column_name would change nothing without train_sampling_strategy='group_by_length'")
    if "tpu_metrics_debug" in str(arguments.get("debug")):
        raise ValueError("debug='tpu_metrics_debug' needs a TPU, on which nothing of the course runs: leave it out")
    _check_best(arguments, metrics)


def check_needs(arguments: Mapping[str, Any], needs: Mapping[str, tuple[str, ...]]) -> None:
    """Raise a ValueError if a field would change nothing, since none of those beside which it does is given."""
    asked = arguments.get("report_to") or []
    trackers = [asked] if isinstance(asked, str) else asked
    trackers = get_available_reporting_integrations() if "all" in trackers else trackers
    there = {*(name for name, value in arguments.items() if value), *(f"report_to {one}" for one in trackers)}
    for name, others in needs.items():
        default = TrainingArguments.__dataclass_fields__[name].default if name in arguments else None
        if name in there and arguments[name] != default and not there.intersection(others):
            raise ValueError(f"{name} would change nothing without {' or '.join(others)}")


def leave_to_several(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, without those that are for several processes where there is one; a line says which."""
    idle = [name for name in OF_PROCESSES if arguments.get(name) is not None]
    if not idle or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return dict(arguments)
    print(_("One process trains here, so these options change nothing: {names}", names=", ".join(idle)))
    return {name: value for name, value in arguments.items() if name not in idle}


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
