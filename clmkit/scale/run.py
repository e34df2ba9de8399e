"""Train unattended: one function for a notebook, a command, many GPUs and many machines, which a kill only delays."""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerState,
)
from transformers.trainer import TRAINER_STATE_NAME

from clmkit.evaluation import Score
from clmkit.generation import generate_texts
from clmkit.hub.download import download_model
from clmkit.hub.upload import push_model
from clmkit.messages import _
from clmkit.saving import check_output_dir, write_whole
from clmkit.scale.checkpoints import last_whole, step_of
from clmkit.scale.data import HELD_OUT, Prepared, prepare_rows, prepare_stream, read_held_out
from clmkit.scale.failures import one_sentence
from clmkit.scale.guard import STREAM_STATE, Guard
from clmkit.scale.options import RunOptions, choose_run
from clmkit.scale.plan import print_plan
from clmkit.scale.processes import EpochBlocks, Interrupted, join_processes, one_voice, score_together
from clmkit.scale.record import (
    RECORD,
    check_same_run,
    describe_history,
    describe_run,
    describe_score,
    device_name,
    read_record,
    write_record,
)
from clmkit.scale.streams import BlockStream
from clmkit.tracks import Track, has_gpu
from clmkit.training.model_card import write_card
from clmkit.training.pytorch import build_trainer, hyperparameters, loss_history
from clmkit.training.tuned_models import is_model

# A stream has no epochs to log, evaluate and save by.
STREAM_ARGUMENTS = {"eval_strategy": "steps", "eval_steps": 0.1, "save_strategy": "steps", "save_steps": 0.1}


class RunResult(NamedTuple):
    """What a run left.

    Attributes:
        folder: Holds the model, its card, its curve and ``run.json``; of a run that stopped early, its checkpoints.
        score: On the blocks held out; ``None`` if the run stopped early, at SIGTERM.
    """

    folder: Path
    score: Score | None


class SharedTrainer(Trainer):
    """A Trainer whose steps and scores are the same however many processes share them, and that reads streams."""

    def __init__(self, guard: Guard, **objects: Any) -> None:
        """Make the Trainer, with a guard that may interrupt it."""
        super().__init__(**objects)
        self.guard = guard
        if isinstance(self.train_dataset, Dataset):
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            step = self.args.train_batch_size * self.args.world_size
            self.train_dataset = EpochBlocks(self.train_dataset, multiple_of=step, seed=seed)

    def get_train_dataloader(self) -> torch.utils.data.DataLoader[Any]:
        """The Trainer's own; but a stream is split among the processes already, and is not to be split again."""
        if not isinstance(self.train_dataset, BlockStream):
            return super().get_train_dataloader()
        return torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
            generator=torch.Generator(),  # else it draws from the one that dropout draws from, once more on resuming
        )

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The mean loss from the summed losses of all processes; nothing if SIGTERM came meanwhile."""
        blocks = self.eval_dataset if eval_dataset is None else eval_dataset
        try:
            score = score_together(self.model, blocks, self.args.eval_batch_size, self.guard.interrupted)
        except Interrupted:
            self.guard.stopped = self.control.should_save = self.control.should_training_stop = True
            return {}
        metrics = {f"{metric_key_prefix}_loss": score.mean_loss, f"{metric_key_prefix}_perplexity": score.perplexity}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def train(options: RunOptions, **arguments: Any) -> RunResult:
    """Train as the options say, on as many processes as there are, and go on where an earlier call was killed.

    It is what ``python -m clmkit train`` calls in each process that ``accelerate launch`` or ``torchrun`` starts, and
    what a notebook can call. It prints what it will do, trains, and leaves the model, its card, its curve and
    ``run.json`` in the output folder. A call like an earlier one in the same folder goes on from the last whole
    checkpoint, and ends with the same weights as if there had been no break (bit-equal on a CPU).

    Args:
        options: What to train, and on what.
        **arguments: Any field of ``TrainingArguments``; the others are as ``build_trainer`` sets them.

    Returns:
        The folder, and the score on the blocks held out.

    Raises:
        ValueError: If an option does not fit the data or the model, a stream comes without ``max_steps``, or the folder
            holds another run.
        FileNotFoundError: If a data file is not there, or the output folder was removed meanwhile.
        ConnectionError: If the Hub fails.
        FloatingPointError: If the loss or the weights are no longer finite.
        MemoryError: If memory ran out.
        OSError: If the output folder can't be written, or the disk is full.
    """
    # Without being told, the Trainer does not see the other processes on a machine without a GPU.
    arguments.setdefault("use_cpu", not has_gpu())
    talk = {"backend": arguments.get("ddp_backend"), "timeout": arguments.get("ddp_timeout", 1800)}
    join_processes(cpu=arguments["use_cpu"], **talk)
    with one_voice() as first:
        job = _set_up(options, arguments, first)
        with job.guard.watch(), one_sentence(job.guard):
            trainer = _build(job)
            record = _begin(job, trainer, first)
            if record["status"] == "finished":
                return RunResult(job.folder, _score(record["after"]))
            _train(job, trainer)
            if job.guard.stopped:
                print(
                    _(
                        "Stopped by SIGTERM after step {step}, which is saved: the same call goes on from there",
                        step=trainer.state.global_step,
                    )
                )
                return RunResult(job.folder, None)
            result = _finish(job, trainer, record)
        if first and arguments.get("push_to_hub"):
            shared = push_model(job.folder, arguments.get("hub_model_id"), arguments.get("hub_token"))
            print(_("Shared: {address}", address=shared))
        return result


def evaluate(folder: str | Path, batch_size: int = 8) -> Score:
    """Measure the model that a run left on the blocks that it held out, on as many processes as there are.

    Args:
        folder: What ``train`` left.
        batch_size: Blocks in one forward pass.

    Returns:
        The score, which is also printed.

    Raises:
        FileNotFoundError: If the folder holds no finished run.
        ValueError: If its data has changed.
    """
    state = join_processes()
    with one_voice():
        record = _finished_record(folder)
        options = RunOptions(**record["options"])
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).to(state.device)
        with state.local_main_process_first():
            test = _held_out(options, tokenizer, Path(folder), record["data"]["fingerprint"])
        score = score_together(model, test, batch_size)
        _print_score(score, len(test))
        return score


def generate(folder: str | Path, prompts: Sequence[str], **arguments: Any) -> list[str]:
    """Continue prompts with the model in a folder; the arguments are those of ``generate_texts``.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: As ``generate_texts``.
    """
    if not is_model(Path(folder)):
        raise FileNotFoundError(f"there is no model in {str(folder)!r}: train one there first")
    model = AutoModelForCausalLM.from_pretrained(folder).to(PartialState().device)
    return generate_texts(model, AutoTokenizer.from_pretrained(folder), prompts, **arguments)


def _finished_record(folder: str | Path) -> dict[str, Any]:
    record = read_record(folder)
    if record is None or record["status"] != "finished":
        state = _("no run") if record is None else _("a run that is not finished")
        raise FileNotFoundError(f"{str(folder)!r} holds {state}: `python -m clmkit train --output_dir {folder}`")
    return record


def _held_out(options: RunOptions, tokenizer: PreTrainedTokenizerBase, folder: Path, fingerprint: str) -> Dataset:
    if options.streaming:
        return read_held_out(folder)
    context = AutoConfig.from_pretrained(folder).max_position_embeddings
    prepared = prepare_rows(choose_run(options), options, tokenizer, context)
    if prepared.fingerprint != fingerprint:
        raise ValueError(f"{prepared.facts['data']} is not what the model in {str(folder)!r} was trained and tested on")
    return prepared.test


class _Job(NamedTuple):
    """What a run works on."""

    options: RunOptions
    arguments: dict[str, Any]
    track: Track
    folder: Path
    earlier: dict[str, Any] | None  # run.json of an earlier call
    checkpoint: Path | None  # its last whole one
    tokenizer: PreTrainedTokenizerBase
    prepared: Prepared
    guard: Guard


def _set_up(options: RunOptions, arguments: dict[str, Any], first: bool) -> _Job:
    """Look at what an earlier call left, and prepare the data."""
    state, track = PartialState(), choose_run(options)
    if options.streaming:
        arguments = _stream_arguments(arguments)
    folder = check_output_dir(arguments.setdefault("output_dir", track.output_dir))
    earlier, checkpoint = read_record(folder), last_whole(folder)
    state.wait_for_everyone()  # until all have read what the first one is about to change
    if first:
        _clean(folder, begun=earlier is not None)
    state.wait_for_everyone()
    with state.local_main_process_first():  # of each machine; the others find in the cache what it makes
        tokenizer, prepared = _prepare(options, track, folder, arguments)
    stream = prepared.train if isinstance(prepared.train, BlockStream) else None
    guard = Guard(folder, arguments.get("save_total_limit", 1), stream)
    return _Job(options, arguments, track, folder, earlier, checkpoint, tokenizer, prepared, guard)


def _stream_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    if arguments.get("max_steps", -1) < 1:
        raise ValueError("nobody knows how long a stream is: say how many steps to train by --max_steps")
    if arguments.get("dataloader_num_workers"):
        raise ValueError("a stream is read by the process that trains: leave --dataloader_num_workers at 0")
    return {**STREAM_ARGUMENTS, **arguments, "ignore_data_skip": True}


def _clean(folder: Path, *, begun: bool) -> None:
    """Remove what a kill left of files that were being written, and of a run that had not begun."""
    for path in folder.glob("unfinished-*"):
        shutil.rmtree(path, ignore_errors=True)
    if not begun:
        (folder / HELD_OUT).unlink(missing_ok=True)


def _prepare(
    options: RunOptions, track: Track, folder: Path, arguments: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerBase, Prepared]:
    base = download_model(track.model, weights=False)
    tokenizer, context = AutoTokenizer.from_pretrained(base), AutoConfig.from_pretrained(base).max_position_embeddings
    if not options.streaming:
        return tokenizer, prepare_rows(track, options, tokenizer, context)
    state = PartialState()
    share = {"rank": state.process_index, "processes": state.num_processes}
    seed = arguments.get("data_seed") or arguments.get("seed", 42)
    return tokenizer, prepare_stream(track, options, tokenizer, context, folder, seed=seed, **share)


def _build(job: _Job) -> Trainer:
    """The Trainer, with the model to start from; with the trained one where only what follows training is left."""
    with PartialState().local_main_process_first():
        trained = job.checkpoint if job.checkpoint and _is_complete(job.checkpoint) else None
        model = AutoModelForCausalLM.from_pretrained(trained or download_model(job.track.model))
    sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true" or bool(job.arguments.get("fsdp"))
    settings = {
        "train_sampling_strategy": "sequential",  # EpochBlocks puts them into order
        "ddp_find_unused_parameters": False,  # there are none, and looking for them takes time
        **job.arguments,
        "save_total_limit": None,  # the guard removes older checkpoints, when the new one is whole
        "push_to_hub": bool(job.arguments.get("push_to_hub")) and not sharded,  # no process has the whole model then
    }
    blocks = {"train": job.prepared.train, "test": job.prepared.test}
    trainer_class: Any = partial(SharedTrainer, job.guard)
    how: dict[str, Any] = {"trainer_class": trainer_class, "callbacks": [job.guard], **settings}
    return build_trainer(job.track, model, blocks, job.tokenizer, **how)


def _begin(job: _Job, trainer: Trainer, first: bool) -> dict[str, Any]:
    """Say what will be done, and note it in the folder; or find it noted there, by a call like this one."""
    device = device_name(trainer.args.device)
    record = describe_run(job.options, job.track, job.prepared, trainer.args, device)
    if job.earlier:
        check_same_run(job.folder, job.earlier, record)
        record = job.earlier
    if record["status"] == "finished":
        print(
            _(
                "{folder} holds this run, finished: perplexity {perplexity:.2f}",
                folder=job.folder.as_posix(),
                perplexity=record["after"]["perplexity"],
            )
        )
        return record
    if os.environ.get("ACCELERATE_USE_FSDP") == "true" and not trainer.is_fsdp_enabled:
        print(_("accelerate shards a model (FSDP) on GPUs only: here every process holds it whole"))
    done = step_of(job.checkpoint) if job.checkpoint else 0
    print_plan(job.track, job.prepared, trainer, held_out=job.options.held_out, done=done)
    if not job.earlier:
        record["before"] = _measure_before(job, trainer)
        if first:
            write_record(job.folder, record)
    return record


def _state_of(checkpoint: Path) -> TrainerState:
    state: TrainerState = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state


def _is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step; the Trainer would train one more on resuming from it."""
    state = _state_of(checkpoint)
    return bool(state.global_step >= state.max_steps)


def _measure_before(job: _Job, trainer: Trainer) -> dict[str, float] | None:
    if trainer.is_fsdp_enabled:  # before it is sharded, the model may not fit
        return None
    return describe_score(score_together(trainer.model, job.prepared.test, trainer.args.eval_batch_size))


def _train(job: _Job, trainer: Trainer) -> None:
    """Train from the beginning or from the last whole checkpoint, unless that is the last one of all."""
    checkpoint = job.checkpoint
    if checkpoint:
        print(_("Going on from {checkpoint}", checkpoint=checkpoint.name))
        if _is_complete(checkpoint):
            trainer.state = _state_of(checkpoint)
            return
        if job.guard.stream:
            path = checkpoint / STREAM_STATE.format(rank=trainer.args.process_index)
            job.guard.stream.load_state_dict(json.loads(path.read_text(encoding="utf-8")))
    log = logging.getLogger("transformers.trainer")
    log.addFilter(_is_news)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        log.removeFilter(_is_news)


def _is_news(message: logging.LogRecord) -> bool:
    """Whether a message is more than that a checkpoint lacks the output layer's weights: they are the embedding's."""
    return "missing keys in the checkpoint model loaded: ['lm_head.weight']" not in message.getMessage()


def _finish(job: _Job, trainer: Trainer, record: dict[str, Any]) -> RunResult:
    """Save the model, measure it, and write its card and the JSON of the run."""
    folder, first = job.folder, trainer.is_world_process_zero()
    with write_whole(folder) if first else nullcontext(folder / "unfinished-elsewhere") as unfinished:
        trainer.save_model(str(unfinished))
    model = trainer.model
    if not trainer.is_fsdp_enabled:  # as whoever loads it will compute, in the precision of its weights
        model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    after = score_together(model, job.prepared.test, trainer.args.eval_batch_size)
    if first:
        _write_results(job, trainer, record, after)
        _print_score(after, len(job.prepared.test))
        print(_("The model, its card, its curve and {record} are in {folder}", record=RECORD, folder=folder.as_posix()))
    return RunResult(folder, after)


def _print_score(score: Score, blocks: int) -> None:
    print(
        _(
            "Perplexity {perplexity:.2f} on {tokens:,} predictions in {blocks:,} blocks held out",
            perplexity=score.perplexity,
            tokens=score.tokens,
            blocks=blocks,
        )
    )


def _write_results(job: _Job, trainer: Trainer, record: dict[str, Any], after: Score) -> None:
    history = loss_history(trainer.state.log_history)
    shown = {**hyperparameters(trainer.args), "steps": trainer.state.global_step, "processes": trainer.args.world_size}
    write_card(
        job.folder,
        job.track,
        job.prepared.facts,
        framework="pytorch",
        hyperparameters=shown,
        before=_score(record["before"]) if record["before"] else None,
        after=after,
        history=history,
    )
    results = {"status": "finished", "after": describe_score(after), "losses": describe_history(history)}
    write_record(job.folder, {**record, **results})


def _score(values: Mapping[str, float]) -> Score:
    return Score(values["summed_loss"], int(values["tokens"]))
