"""Fine-tune with PyTorch and Transformers' Trainer."""

import ctypes
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import get_available_reporting_integrations

from clmkit.chunking import check_block_size, collate_blocks, context_length, prepare_blocks
from clmkit.evaluation import LossHistory
from clmkit.hub.download import download_model
from clmkit.kernels import gpu_precision
from clmkit.saving import check_output_dir
from clmkit.tracks import Track
from clmkit.training import tuned_models
from clmkit.training.arguments import check_fields, fill_in, leave_to_several
from clmkit.training.base_models import load_model, prepare_to_train
from clmkit.training.output_folder import TUNED_ON, check_free, is_held
from clmkit.training.trainer_callbacks import HoldFolder, HubCallback
from clmkit.training.trainer_parts import check_parts
from clmkit.widgets.live import LivePlot

# The guide's, and what its call lacks; build_trainer adds what depends on the track or the machine.
COURSE_ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "weight_decay": 0.01,
    "logging_steps": 0.05,
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "logging_nan_inf_filter": False,  # a NaN in the log is worth more than the 0 that would stand for it
    "use_cache": True,  # else the saved configuration tells old programs to generate without a cache
}
# What an upload can't honour if it has another value than these, and why.
OF_UPLOAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "hub_strategy": (("every_save", "end"), "checkpoints are not uploaded"),
    "hub_always_push": ((False,), "an upload is not begun before the last one has ended"),
    "hub_revision": ((None, "main"), "a model is pushed to the branch main"),
}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h numbers what mallopt sets


def hardware_arguments(model: PreTrainedModel) -> dict[str, Any]:
    """The ``TrainingArguments`` that depend on this machine and the model; benchmarks/README.md has their worth.

    Returns:
        ``bf16=True``, bfloat16 arithmetic on float32 weights, where a GPU computes in bfloat16 itself, or a CPU does
        and the model has 50 million parameters or more: in a smaller one the arithmetic is not what takes the time.
        ``fp16=True``, float16 arithmetic on float32 weights with a scaled loss, on a GPU that has matrix units for
        float16 alone (compute capability 7, such as Colab's T4). Pinned memory only where there is a GPU to copy to.
        All else, Apple's MPS among it, trains in float32.
    """
    gpu = gpu_precision()
    if gpu:
        return {"bf16": gpu == "bfloat16", "fp16": gpu == "float16", "use_cpu": False, "dataloader_pin_memory": True}
    bf16 = computes_bfloat16() and model.num_parameters() >= 50_000_000
    # bf16 on a CPU wants to be asked for.
    return {"bf16": bf16, "fp16": False, "use_cpu": bf16, "dataloader_pin_memory": False}


def computes_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16 (AVX512-BF16 or AMX), as far as this PyTorch can tell."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # not in older ones
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def keep_freed_memory() -> bool:
    """Let this process keep the memory that PyTorch frees on a CPU, to use it again in the next step.

    The C library of Linux, glibc, gives large pieces back to the system as soon as they are freed. Each step of
    training then gets its logits and gradients as new pages, which the system has to clear first. Keeping them costs
    memory, since the process stays as large as it ever was.

    Returns:
        Whether there was something to do: there is a glibc, which agreed, and no GPU to train on.
    """
    if platform.libc_ver()[0] != "glibc" or torch.cuda.is_available():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(threshold, 2**31 - 1) for threshold in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD))


class LivePlotCallback(TrainerCallback):
    """Draws the run while the Trainer trains, as often as it logs; see ``LivePlot``."""

    plot: LivePlot | None = None  # only while training: an evaluation before or after it is logged too

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Begin to count the time."""
        some = objects["train_dataloader"].dataset[:100]["input_ids"]  # blocks are of one length, conversations are not
        block_size = sum(map(len, some)) / len(some)
        blocks = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.plot = LivePlot(state.max_steps, round(blocks * block_size), done=state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any) -> None:
        """Draw what was logged so far."""
        self._draw(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Draw the whole run, and leave it so."""
        self._draw(state, last=True)
        self.plot = None

    def _draw(self, state: TrainerState, *, last: bool = False) -> None:
        if self.plot is not None and state.is_world_process_zero:
            rates = _logged(state.log_history, "learning_rate")
            self.plot.update(state.global_step, loss_history(state.log_history), rates, last=last)


def build_trainer(
    track: Track,
    model: PreTrainedModel,
    blocks: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    *,
    push_to_hub: bool = False,
    trainer_class: type[Trainer] = Trainer,
    callbacks: Sequence[TrainerCallback] = (),
    **arguments: Any,
) -> Trainer:
    """Build the Trainer of the guide's step "Train", with what the guide's call lacks.

    The guide's arguments (evaluation every epoch, weight decay 0.01, batches of 8) stay. Added: the tokenizer, which is
    saved and pushed with the model, so that the pushed model can be loaded; twenty lines of log in a run of any length;
    a checkpoint an epoch; a collator in whose labels an eos_token counts; freed memory is kept on a CPU; and
    ``model.loss_type``, from which the Trainer knows that the labels get shifted. Transformers reads it off the class's
    name, which for ``GPT2LMHeadModel`` fails (5.23): the Trainer then divides the loss of 127 predictions by 128.

    Args:
        track: Gives epochs, learning rate and output folder.
        model: The causal language model to tune, in place.
        blocks: ``"train"`` and ``"test"`` blocks of equal length, as ``chunk`` gives them.
        tokenizer: The model's.
        push_to_hub: Whether to upload the model while it trains, under the name of the output folder or under
            ``hub_model_id``. Of several processes the first one uploads.
        trainer_class: The Trainer, or what is made of it.
        callbacks: More of the Trainer's callbacks; they come before the upload.
        **arguments: Any other field of ``TrainingArguments``; it wins over the ones here. ``eval_steps`` and
            ``save_steps`` bring the strategy "steps" with them unless another is given.

    Returns:
        A Trainer, ready to ``train()``.

    Raises:
        OSError: If the output folder can't be written; as ``HubCallback`` if the model is to be uploaded. While another
            process trains into the folder, ``train()`` raises it too.
        ValueError: If the blocks are longer than the model's context, an argument has a value that it can't have or
            with which it would do nothing, or the output folder is the model's own or holds what training would write
            over: other files, or a run of ``clmkit train``.
        ImportError: If an argument asks for a package that is not installed.
    """
    check_block_size(len(blocks["test"][0]["input_ids"]), context_length(model.config))
    args = _check_arguments(track, model, arguments, push_to_hub, ["loss"] if trainer_class is Trainer else None)
    output_dir = check_output_dir(str(args.output_dir))
    if args.process_index == 0 and not is_held(output_dir):  # by `train`, which has looked itself
        check_free(output_dir, track.model, getattr(model, "name_or_path", ""))
    keep_freed_memory()
    prepare_to_train(model, tokenizer)
    model.loss_type = "ForCausalLM"
    setattr(model.config, TUNED_ON, tuned_models.describe_training(track, args, COURSE_ARGUMENTS))
    upload = push_to_hub and args.process_index == 0
    hub = (args.hub_model_id, args.hub_token, args.hub_private_repo, args.hub_strategy)
    args.hub_token = None  # the Trainer pickles its arguments, beside every checkpoint
    uploader = [HubCallback(output_dir, *hub)] if upload else []
    return trainer_class(
        model=model,
        args=args,
        train_dataset=blocks["train"],
        eval_dataset=blocks["test"],
        data_collator=collate_blocks,
        processing_class=tokenizer,
        callbacks=[HoldFolder(), *callbacks, *uploader],
    )


def _check_arguments(
    track: Track, model: PreTrainedModel, arguments: dict[str, Any], push_to_hub: bool, metrics: list[str] | None
) -> TrainingArguments:
    """The arguments of training, each of which can be honoured."""
    known = {"push_to_hub": push_to_hub, **fill_in(track, {**COURSE_ARGUMENTS, **hardware_arguments(model)}, arguments)}
    check_fields(known, metrics)
    _check_honoured(known)
    known = leave_to_several(known)
    del known["push_to_hub"]
    asked_for = arguments.get("report_to") or []
    check_report_to([asked_for] if isinstance(asked_for, str) else asked_for)
    args = TrainingArguments(**known)
    if args.fp16 and args.device.type == "cpu":
        raise ValueError("fp16 needs a GPU, and this computes on the CPU, where it would do nothing: leave it out")
    check_parts(args, model)
    return args


def _check_honoured(arguments: Mapping[str, Any]) -> None:
    """Raise a ValueError at what would be passed over without a word."""
    if arguments.get("resume_from_checkpoint"):
        raise ValueError("resume_from_checkpoint is for the Trainer's method: train(resume_from_checkpoint=...)")
    if not arguments["push_to_hub"]:
        return
    for name, (honoured, why) in OF_UPLOAD.items():
        if arguments.get(name, honoured[0]) not in honoured:
            raise ValueError(f"{why}: leave out {name}={arguments[name]!r}")


def check_report_to(report_to: Sequence[str]) -> None:
    """Raise a ValueError unless what the Trainer is to report to is installed."""
    missing = [name for name in report_to if name not in (*get_available_reporting_integrations(), "none", "all")]
    if missing:
        raise ValueError(f"report_to asks for {', '.join(missing)}: pip install it, or leave report_to out")


def find_or_train(track: Track) -> Path:
    """Find the tuned model that notebook 06a saved or shared, or train it now; return its folder, and say which."""

    def train(folder: Path) -> None:
        base = download_model(track.model)
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = load_model(base, track.model)
        prepare_to_train(model, tokenizer)  # before the data are read, of which there may be much
        trainer = build_trainer(track, model, prepare_blocks(track, tokenizer), tokenizer, output_dir=str(folder))
        trainer.train()
        trainer.save_model()

    return tuned_models.find_or_train(track, "pytorch", train)


def hyperparameters(arguments: TrainingArguments) -> dict[str, Any]:
    """What a reader of a model's card needs to know of the arguments to train it again, by their names."""
    names = ["optim", "learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm"]
    names += ["max_steps" if arguments.max_steps > 0 else "num_train_epochs"]
    names += ["warmup_steps"] if arguments.warmup_steps else []
    names += ["per_device_train_batch_size", "gradient_accumulation_steps", "bf16", "fp16", "seed"]
    values = arguments.to_dict()
    return {name: values[name] for name in names}


def loss_history(log: Iterable[Mapping[str, float]]) -> LossHistory:
    """Pick the losses out of ``trainer.state.log_history``."""
    entries = list(log)
    return LossHistory(train=_logged(entries, "loss"), test=_logged(entries, "eval_loss"))


def _logged(log: Iterable[Mapping[str, float]], name: str) -> list[tuple[int, float]]:
    """The steps at which a value was logged, and the value at each."""
    return [(int(entry["step"]), entry[name]) for entry in log if name in entry]
