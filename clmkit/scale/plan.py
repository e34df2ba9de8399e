"""Say what a run will do before it does it."""

import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerState, TrainingArguments

from clmkit.chunking import collate_blocks
from clmkit.messages import _
from clmkit.scale.data import Prepared
from clmkit.scale.record import device_name
from clmkit.texts import SPLIT_SEED
from clmkit.tracks import Track
from clmkit.training.model_card import base_model

PROBE_STEPS = 2


def print_plan(track: Track, prepared: Prepared, trainer: Trainer, *, done: int) -> None:
    """Print rows, blocks, steps, tokens, and about how long it will take.

    Args:
        track: What is trained, and on what.
        prepared: The blocks.
        trainer: Ready to train.
        done: How many steps an earlier call has done.
    """
    args = trainer.args
    model: Any = trainer.model
    epochs, per_epoch, *_others, steps = trainer.set_initial_training_values(args, trainer.get_train_dataloader())
    blocks = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    name = Path(track.model).resolve().name if Path(track.model).is_dir() else base_model(track)
    print(_("Model:  {name}, {count:,} parameters", name=name, count=model.num_parameters()))
    trained = trainer.get_num_trainable_parameters()
    if trained < model.num_parameters():
        print(_("LoRA:   {count:,} of them are trained", count=trained))
    print(_("Data:   {source}", source=prepared.facts["data"]))
    _print_amounts(prepared, track.block_size, steps, per_epoch)
    factors = f"{args.world_size} x {args.train_batch_size} x {args.gradient_accumulation_steps}"
    print(
        _(
            "Step:   {blocks:,} blocks: processes x blocks each x steps accumulated = {product}",
            blocks=blocks,
            product=factors,
        )
    )
    print(_("Tokens: {tokens:,}", tokens=steps * blocks * track.block_size))
    where = device_name(args.device)
    if trainer.is_fsdp_enabled:  # before it is sharded, the model may not fit
        print(_("Time:   not known before it begins, on {where}", where=where))
        return
    per_block = _seconds_per_block(trainer, prepared)
    tested = _evaluations(args, epochs, steps, done) * len(prepared.test) / args.world_size
    seconds = per_block * ((steps - done) * blocks // args.world_size + tested / 3)  # without a backward pass
    print(
        _(
            "Time:   about {time}, at {speed:,.0f} tokens/s a process in a probe, on {where}",
            time=timedelta(seconds=round(seconds)),
            speed=track.block_size / per_block,
            where=where,
        )
    )


def _evaluations(args: TrainingArguments, epochs: int, steps: int, done: int) -> float:
    """How often the test blocks are scored from here on: before training, in it as was asked for, and after it."""
    state = TrainerState()
    state.compute_steps(args, steps)  # a share of the steps becomes a number of them
    of_all = {"epoch": epochs, "steps": math.ceil(steps / state.eval_steps)}.get(args.eval_strategy, 0)
    return of_all * (1 - done / steps) + (1 if done else 2)


def _print_amounts(prepared: Prepared, size: int, steps: int, per_epoch: int) -> None:
    test, share = len(prepared.test), prepared.held_out
    if prepared.stream:
        print(_("Rows:   streamed; {held_out:.3g} of them held out by a checksum", held_out=share))
        print(_("Blocks: streamed to train on, {test:,} to test on, {size} tokens each", test=test, size=size))
        print(_("Steps:  {steps:,}", steps=steps))
        return
    print(_("Rows:   {held_out:.3g} of them held out before packing, seed {seed}", held_out=share, seed=SPLIT_SEED))
    train: Any = prepared.train
    print(
        _(
            "Blocks: {train:,} to train on, {test:,} to test on, {size} tokens each",
            train=len(train),
            test=test,
            size=size,
        )
    )
    print(_("Steps:  {steps:,}, {per_epoch:,} an epoch", steps=steps, per_epoch=per_epoch))


def _seconds_per_block(trainer: Trainer, prepared: Prepared) -> float:
    """Time forward and backward passes, and leave no trace: not in weights, gradients, or random numbers."""
    args = trainer.args
    model: Any = trainer.model
    size = min(args.train_batch_size, len(prepared.test))
    rows = [prepared.test[index] for index in range(size)]
    batch = {name: ids.to(args.device) for name, ids in collate_blocks(rows).items()}
    was_training = model.training
    model.train()
    kind = args.device.type
    dtype = torch.float16 if args.fp16 else torch.bfloat16
    with torch.random.fork_rng(), torch.autocast(kind, dtype, enabled=args.bf16 or args.fp16):
        for step in range(PROBE_STEPS + 1):
            if step == 1:  # the first one warms up
                start = _now(kind)
            model(**batch).loss.backward()
            model.zero_grad()
    model.train(was_training)
    return (_now(kind) - start) / PROBE_STEPS / size


def _now(kind: str) -> float:
    """The time when all that was asked of a GPU is done."""
    if kind != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter()
