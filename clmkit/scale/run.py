"""Train unattended: one function for a notebook, a command, many GPUs and many machines, which a kill only delays."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import PartialState
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerState,
)
from transformers.trainer import TRAINER_STATE_NAME

from clmkit.chunking import context_length
from clmkit.evaluation import Score, score
from clmkit.hub.download import download_model
from clmkit.hub.upload import Uploads, push_model
from clmkit.messages import _
from clmkit.saving import UNFINISHED, write_whole
from clmkit.scale.adapters import adapt, merge_adapter
from clmkit.scale.arguments import complete
from clmkit.scale.checkpoints import checkpoint_folder, checkpoints, cut_files, last_whole, step_of, sync_files, unmark
from clmkit.scale.data import HELD_OUT, Prepared, prepare_rows, prepare_stream
from clmkit.scale.failures import one_sentence
from clmkit.scale.guard import STREAM_STATE, Guard
from clmkit.scale.plan import print_plan
from clmkit.scale.processes import join_processes, one_voice, own_folder
from clmkit.scale.record import (
    check_same_run,
    describe_run,
    describe_score,
    read_record,
    read_score,
    write_record,
)
from clmkit.scale.results import write_results
from clmkit.scale.streams import Stream
from clmkit.scale.trainer import SharedTrainer
from clmkit.tokenization import check_vocabulary
from clmkit.tracks import Track
from clmkit.training.base_models import check_causal, load_model
from clmkit.training.pytorch import build_trainer


class RunResult(NamedTuple):
    """What a run left.

    Attributes:
        folder: Holds the model, its card, its curve and ``run.json``; of a run that stopped early, its checkpoints.
        score: On the blocks held out; ``None`` if the run stopped early, at SIGTERM.
    """

    folder: Path
    score: Score | None


def train(
    track: Track, *, stream: Stream | None = None, lora: Mapping[str, Any] | None = None, **arguments: Any
) -> RunResult:
    """Train what the track says, on as many processes as there are, and go on where an earlier call was killed.

    It is what ``python -m clmkit train`` calls in each process that ``accelerate launch`` or ``torchrun`` starts, and
    what a notebook can call. It prints what it will do, trains, and leaves the model, its card, its curve and
    ``run.json`` in the output folder. A call like an earlier one in the same folder goes on from the last whole
    checkpoint, and ends with the same weights as if there had been no break (bit-equal on a CPU).

    Args:
        track: What to train, and on what.
        stream: Given if the data are to be read while training, with memory and disk that do not depend on their size.
        lora: Given if a LoRA adapter is to be trained in place of all weights: fields of PEFT's ``LoraConfig``, or
            none. The checkpoints hold the adapter alone; in the end it is added to the weights.
        **arguments: Any field of ``TrainingArguments``; the others are as ``build_trainer`` sets them. What a run can't
            honour is refused before it begins.

    Returns:
        The folder, and the score on the blocks held out.

    Raises:
        ValueError: If an argument does not fit the data or the model, a stream comes without ``max_steps``, or the
            folder holds another run, other files, or the model to start from.
        FileNotFoundError: If a data file is not there, or the output folder was removed meanwhile.
        ConnectionError: If the Hub fails.
        FloatingPointError: If the loss or the weights are no longer finite.
        MemoryError: If memory ran out.
        OSError: If the output folder can't be written or another run is at work in it, or the disk is full.
    """
    arguments = complete(track, stream, arguments)
    timeout = arguments.get("ddp_timeout", 1800)
    join_processes(cpu=arguments["use_cpu"], backend=arguments.get("ddp_backend"), timeout=timeout)
    with one_voice() as first, own_folder(arguments["output_dir"], track.model, first=first) as folder:
        earlier, checkpoint = _find_earlier(folder, first)
        with PartialState().local_main_process_first():  # of each machine; the others find in the cache what it makes
            tokenizer, prepared = _prepare(track, stream, folder, arguments)
        guard = Guard(folder, arguments["save_total_limit"], prepared.stream)
        with guard.watch(), one_sentence(guard):
            trainer = _build(track, prepared, tokenizer, guard, checkpoint, arguments, lora)
            record = _resume(folder, earlier, describe_run(track, stream, prepared, trainer.args, lora))
            if record["status"] == "finished":
                return RunResult(folder, read_score(record["after"]))
            print_plan(track, prepared, trainer, done=step_of(checkpoint) if checkpoint else 0)
            if not earlier:
                # Before it is sharded, the model may not fit.
                record["before"] = None if trainer.is_fsdp_enabled else describe_score(_measure(trainer, prepared))
                if first:
                    write_record(folder, record)
            _train(trainer, guard, checkpoint)
            if guard.stopped:
                return RunResult(folder, None)
            if lora is not None:
                merge_adapter(trainer)
            record["files"] = _save(trainer, folder)
            after = _measure(trainer, prepared)
            if first:
                write_results(folder, track, prepared, trainer, record, after)
        if first and arguments.get("push_to_hub"):
            address = push_model(folder, *_repository(arguments))
            print(_("Shared: {address}", address=address))
    return RunResult(folder, after)


def _repository(arguments: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Name, token and privacy of the repository to share in, as ``push_model`` takes them."""
    return arguments.get("hub_model_id"), arguments.get("hub_token"), arguments.get("hub_private_repo")


def _find_earlier(folder: Path, first: bool) -> tuple[dict[str, Any] | None, Path | None]:
    """What an earlier call left: the JSON of its run, and its last whole checkpoint."""
    earlier = read_record(folder)
    if earlier and (cut := cut_files(folder, earlier.get("files", {}))):
        name, files = folder.as_posix(), ", ".join(cut)
        print(
            _("Passing over the model in {folder}, which is half-written: it lacks {files}", folder=name, files=files)
        )
        earlier["status"] = "training"
    checkpoint = last_whole(folder) if earlier else None
    PartialState().wait_for_everyone()  # until all have read what the first one is about to change
    if first:
        for unfinished in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if not earlier:  # what is there is of a run that had not begun, or whose record is lost
            (folder / HELD_OUT).unlink(missing_ok=True)
            for older in checkpoints(folder):
                unmark(older)
    PartialState().wait_for_everyone()
    return earlier, checkpoint


def _prepare(
    track: Track, stream: Stream | None, folder: Path, arguments: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerBase, Prepared]:
    base = download_model(track.model)  # before the data are looked at, of which there may be much
    tokenizer, config = AutoTokenizer.from_pretrained(base), AutoConfig.from_pretrained(base)
    check_causal(config)
    check_vocabulary(tokenizer, config.get_text_config().vocab_size)
    context = context_length(config)
    if stream is None:
        return tokenizer, prepare_rows(track, tokenizer, context)
    seed = arguments.get("data_seed")
    seed = arguments.get("seed", 42) if seed is None else seed
    return tokenizer, prepare_stream(track, stream, tokenizer, context, folder, seed)


def _build(
    track: Track,
    prepared: Prepared,
    tokenizer: PreTrainedTokenizerBase,
    guard: Guard,
    checkpoint: Path | None,
    arguments: Mapping[str, Any],
    lora: Mapping[str, Any] | None,
) -> Trainer:
    """The Trainer, with the model to start from; with the trained one where only what follows training is left."""
    trained = checkpoint if checkpoint and _is_last(checkpoint) else None
    if trained and arguments.get("load_best_model_at_end"):
        trained = checkpoint_folder(guard.output_dir, _state_of(trained).best_global_step or step_of(trained))
    sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true" or bool(arguments.get("fsdp"))
    if sharded and lora is not None:
        raise ValueError("a LoRA adapter is not sharded: leave out FSDP or --lora")
    base = trained if lora is None else None
    with PartialState().local_main_process_first():
        model = load_model(base or download_model(track.model), "" if base else track.model)
    if lora is not None:
        model = adapt(model, lora, trained, arguments.get("seed", 42))
    # Of a sharded model no process has the whole, and with an adapter there is none before the end.
    push = bool(arguments.get("push_to_hub")) and not sharded and lora is None
    alone = PartialState().num_processes == 1
    settings = {
        **({} if alone else {"ddp_find_unused_parameters": False}),  # there are none, and looking for them takes time
        **{name: value for name, value in arguments.items() if push or name not in ("hub_token", "hub_strategy")},
        "train_sampling_strategy": "sequential",  # EpochBlocks puts them into order
        "save_total_limit": None,  # the guard removes older checkpoints, when the new one is whole
        "push_to_hub": push,
    }
    trainer_class: Any = partial(SharedTrainer, guard)
    blocks = {"train": prepared.train, "test": prepared.test}
    trainer = build_trainer(track, model, blocks, tokenizer, trainer_class=trainer_class, callbacks=[guard], **settings)
    if sharded and arguments.get("push_to_hub") and trainer.is_world_process_zero():
        Uploads(guard.output_dir, *_repository(arguments))  # what the Hub refuses is said before training too
    if sharded and not trainer.is_fsdp_enabled:
        print(_("accelerate shards a model (FSDP) on GPUs only: here every process holds it whole"))
    return trainer


def _resume(folder: Path, earlier: dict[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
    """The record of this run as an earlier call like this one left it, or the new one."""
    if earlier is None:
        return record
    check_same_run(folder, earlier, record)
    if earlier["status"] == "finished":
        perplexity = earlier["after"]["perplexity"]
        name = folder.as_posix()
        print(_("{folder} holds this run, finished: perplexity {perplexity:.2f}", folder=name, perplexity=perplexity))
    return earlier


def _state_of(checkpoint: Path) -> TrainerState:
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state


def _is_last(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step; the Trainer would train one more on resuming from it."""
    state = _state_of(checkpoint)
    return bool(state.global_step >= state.max_steps)


def _train(trainer: Trainer, guard: Guard, checkpoint: Path | None) -> None:
    """Train from the beginning or from the last whole checkpoint, unless that is the last one of all."""
    if checkpoint:
        print(_("Going on from {checkpoint}", checkpoint=checkpoint.name))
        if _is_last(checkpoint):
            trainer.state = _state_of(checkpoint)
            return
        if len(list(checkpoint.glob("rng_state*.pth"))) != trainer.args.world_size:
            print(_("The number of processes is another than before: dropout draws other numbers from here on"))
        if guard.stream:
            place = (checkpoint / STREAM_STATE).read_text(encoding="utf-8")
            guard.stream.load_state_dict(json.loads(place))
    log = logging.getLogger("transformers.trainer")
    log.addFilter(_is_news)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        log.removeFilter(_is_news)
    if guard.stopped:
        step = trainer.state.global_step
        print(
            _(
                "Stopped by {signal} after step {step}, which is saved: the same call goes on from there",
                signal=guard.signal,
                step=step,
            )
        )


def _is_news(message: logging.LogRecord) -> bool:
    """Whether a message is more than that a checkpoint lacks the output layer's weights: they are the embedding's."""
    return "missing keys in the checkpoint model loaded: ['lm_head.weight']" not in message.getMessage()


def _save(trainer: Trainer, folder: Path) -> dict[str, int]:
    """Save the model; the sizes of its files."""
    first = trainer.is_world_process_zero()
    with write_whole(folder) if first else nullcontext(folder / "unfinished-elsewhere") as unfinished:
        trainer.save_model(str(unfinished))
        return sync_files(unfinished)


def _measure(trainer: Trainer, prepared: Prepared) -> Score:
    model: Any = trainer.model
    if not trainer.is_fsdp_enabled:  # as whoever loads it will compute, in the precision of its weights
        model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    tokenizer: Any = trainer.processing_class
    return score(model, prepared.test, trainer.args.eval_batch_size, tokenizer=tokenizer)
