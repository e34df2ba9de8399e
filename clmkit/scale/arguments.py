"""The arguments of an unattended run: each is honoured, or refused before anything is computed."""

from collections.abc import Mapping
from typing import Any

from clmkit.kernels import has_gpu
from clmkit.scale.streams import Stream
from clmkit.tracks import Track
from clmkit.training.arguments import check_fields, check_needs, fill_in, leave_to_several
from clmkit.training.pytorch import COURSE_ARGUMENTS, OF_UPLOAD

# A stream has no epochs to log, evaluate and save by.
STREAM_ARGUMENTS = {"eval_strategy": "steps", "eval_steps": 0.1, "save_strategy": "steps", "save_steps": 0.1}

METRICS = ("loss", "perplexity")  # which ``SharedTrainer`` measures

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
    "include_for_metrics": (([],), PREDICTIONS),
    "eval_accumulation_steps": ((None,), PREDICTIONS),
    "eval_use_gather_object": ((False,), PREDICTIONS),
    "eval_do_concat_batches": ((True,), PREDICTIONS),
    "do_train": ((True,), "a run trains; `evaluate` and `generate` are commands of their own"),
    "do_predict": ((False,), "a run trains; `generate` is a command of its own"),
    "auto_find_batch_size": ((False,), "a run has steps of one size, so that it can go on after a break"),
    "dataloader_in_order": ((True,), "a run can go on only if its blocks come in the same order again"),
    **OF_UPLOAD,
}
# Of a Trainer that a notebook has, its method push_to_hub would take them.
OF_SHARING = {"hub_model_id": ("push_to_hub",), "hub_private_repo": ("push_to_hub", "report_to trackio")}


def complete(track: Track, stream: Stream | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the arguments what has to be known before there is a Trainer.

    Args:
        track: What to train, and on what.
        stream: Given if the data are to be read while training.
        arguments: Fields of ``TrainingArguments``.

    Raises:
        ValueError: If one of them can't be honoured; the message says why.
    """
    for name, value in arguments.items():
        honoured, why = REFUSED.get(name, ((value,), ""))
        if value not in honoured:
            raise ValueError(f"{why}: leave out --{name} {value}")
    # Without being told, the Trainer does not see the other processes on a machine without a GPU.
    course = {**COURSE_ARGUMENTS, "use_cpu": not has_gpu(), **(STREAM_ARGUMENTS if stream else {})}
    filled = fill_in(track, course, arguments)
    check_fields(filled, METRICS)
    check_needs(filled, OF_SHARING)
    filled = leave_to_several(filled)
    if stream is None:
        return filled
    if filled.get("max_steps", -1) < 1:
        raise ValueError("nobody knows how long a stream is: say how many steps to train by --max_steps")
    if filled.get("dataloader_num_workers"):
        raise ValueError("a stream is read by the process that trains: leave --dataloader_num_workers at 0")
    return {**filled, "ignore_data_skip": True}
