"""Say what a run will do before it does it."""

import time
from typing import Any

import torch
from transformers import Trainer

from clmkit.tracks import Track
from clmkit.training.data import Prepared
from clmkit.training.model_card import base_model
from clmkit.training.record import device_name
from clmkit.training.trainer import collate_blocks

PROBE_STEPS = 2


def print_plan(track: Track, prepared: Prepared, trainer: Trainer, done: int) -> None:
    """Print rows, blocks, steps, tokens, and about how long it will take.

    Args:
        track: What is trained, and on what.
        prepared: The blocks.
        trainer: Ready to train.
        done: How many steps an earlier call has done.
    """
    args = trainer.args
    model: Any = trainer.model
    epochs, per_epoch, *_, steps = trainer.set_initial_training_values(args, trainer.get_train_dataloader())
    blocks = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    size = len(prepared.test[0]["input_ids"])
    share = f"{args.world_size} x {args.train_batch_size} x {args.gradient_accumulation_steps}"
    facts = {
        "Model": f"{base_model(track)}, {model.num_parameters():,} parameters",
        "Data": prepared.facts["data"],
        "Rows": "streamed" if prepared.rows is None else f"{prepared.rows:,}; {prepared.facts['split']}",
        "Blocks": f"{prepared.facts['blocks']}, {size} tokens each",
        "Steps": f"{steps:,}" + ("" if prepared.rows is None else f", {per_epoch:,} an epoch"),
        "Step": f"{blocks:,} blocks: processes x blocks each x steps accumulated = {share}",
        "Tokens": f"{steps * blocks * size:,}",
        "Time": _expected_time(trainer, prepared, steps - done, blocks // args.world_size, epochs),
    }
    for name, value in facts.items():
        print(f"{name + ':':8}{value}")


def _expected_time(trainer: Trainer, prepared: Prepared, steps: int, blocks: int, epochs: int) -> str:
    where = device_name(trainer.args.device)
    if trainer.is_fsdp_enabled:  # before it is sharded, the model may not fit
        return f"not known before it begins, on {where}"
    seconds = _seconds_per_block(trainer, prepared)
    evaluations = epochs if trainer.args.eval_strategy == "epoch" else 0
    tested = (
        (evaluations + 1) * len(prepared.test) / trainer.args.world_size / 3
    )  # no backward pass, a third of the work
    total = seconds * (steps * blocks + tested)
    size = len(prepared.test[0]["input_ids"])
    return f"about {_duration(total)}, at {size / seconds:,.0f} tokens/s a process in a probe, on {where}"


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
    with torch.random.fork_rng(), torch.autocast(kind, torch.bfloat16, enabled=args.bf16):
        for step in range(PROBE_STEPS + 1):
            if step == 1:  # the first one warms up
                start = _now(kind)
            model(**batch).loss.backward()
            model.zero_grad()
    model.train(was_training)
    return (_now(kind) - start) / PROBE_STEPS / size


def _now(kind: str) -> float:
    if kind == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
