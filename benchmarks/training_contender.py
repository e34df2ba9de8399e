"""One way to train with PyTorch, measured: a process of its own for ``benchmarks.training``."""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from datasets import DatasetDict, load_from_disk
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForLanguageModeling,
    GPT2LMHeadModel,
    GPT2TokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)

from benchmarks.common import peak_memory_mb
from clmkit.evaluation import score
from clmkit.tracks import BUNDLED, choose_track
from clmkit.training.pytorch import build_trainer, keep_freed_memory

BATCH_SIZE = 8  # the default of TrainingArguments, and so the guide's


class Clock(TrainerCallback):
    """Takes the time after the warm-up and at the end."""

    def __init__(self, warmup: int) -> None:
        self.warmup, self.times = warmup, dict[int, float]()
        self.start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when a step was done."""
        self.times[state.global_step] = time.perf_counter()

    def seconds(self) -> float:
        """From the end of the warm-up to the end of the last step."""
        return max(self.times.values()) - self.times[self.warmup]


def guide(model: Any, blocks: DatasetDict, job: dict[str, Any], clock: Clock) -> None:
    """The guide's call: columns of lists, its collator, its arguments."""
    full = blocks.map(
        lambda batch: {"attention_mask": [[1] * len(x) for x in batch["input_ids"]], "labels": batch["input_ids"]},
        batched=True,
    )
    tokenizer = GPT2TokenizerFast.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.pad_token = tokenizer.eos_token
    # But for the steps, which are as many for all, and the evaluation, which is done at the end.
    arguments = TrainingArguments(
        job["folder"],
        eval_strategy="no",
        learning_rate=job["learning_rate"],
        weight_decay=0.01,
        max_steps=job["steps"],
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=full["train"],
        eval_dataset=full["test"],
        data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm=False),
        callbacks=[clock],
    )
    clock.start = time.perf_counter()
    trainer.train()


def course(model: Any, blocks: DatasetDict, job: dict[str, Any], clock: Clock, **arguments: Any) -> None:
    tokenizer = GPT2TokenizerFast.from_pretrained(BUNDLED / "tiny_gpt2")
    trainer = build_trainer(
        choose_track("quick"),
        model,
        blocks,
        tokenizer,
        output_dir=f"{job['folder']}-by-clmkit",
        max_steps=job["steps"],
        learning_rate=job["learning_rate"],
        eval_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        **arguments,
    )
    trainer.add_callback(clock)
    clock.start = time.perf_counter()
    trainer.train()


def bare_loop_with_memory(*job: Any) -> None:
    keep_freed_memory()
    bare_loop(*job)


def bare_loop(model: Any, blocks: DatasetDict, job: dict[str, Any], clock: Clock) -> None:
    """What is left when everything but the arithmetic is taken away."""
    ids = torch.tensor(blocks["train"]["input_ids"][:])
    order = torch.Generator().manual_seed(42)
    batches = DataLoader(ids, BATCH_SIZE, shuffle=True, generator=order)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), job["learning_rate"], weight_decay=0.01, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, job["steps"])
    step = 0
    clock.start = time.perf_counter()
    while step < job["steps"]:
        for batch in batches:
            batch = batch.to(device)
            model(input_ids=batch, labels=batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            clock.times[step] = time.perf_counter()
            if step == job["steps"]:
                return


BF16 = {"bf16": True, "use_cpu": not torch.cuda.is_available()}  # on a CPU bf16 wants to be asked for
FLOAT32 = {"bf16": False, "use_cpu": False}
CONTENDERS: dict[str, Callable[[Any, DatasetDict, dict[str, Any], Clock], None]] = {
    "guide": guide,
    "bare PyTorch loop": bare_loop,
    "bare PyTorch loop, memory kept": bare_loop_with_memory,
    "clmkit, float32": partial(course, **FLOAT32),
    "clmkit, float32, compiled": partial(course, **FLOAT32, torch_compile=True),
    "clmkit, bfloat16": partial(course, **BF16),
    "clmkit, bfloat16, compiled": partial(course, **BF16, torch_compile=True),
}


def flops_per_token(model: GPT2LMHeadModel, block_size: int) -> float:
    """Of a step of training: 6 for each parameter, and the attention's 12 x layers x width x block_size."""
    return 6 * model.num_parameters() + 12 * model.config.n_layer * model.config.n_embd * block_size


def memory_mb() -> float:
    """The most memory used: of the GPU where there is one, else of this process."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_memory_mb()


def main(contender: str, job_json: str) -> None:
    job = json.loads(job_json)
    blocks = load_from_disk(job["blocks"])
    assert isinstance(blocks, DatasetDict)
    set_seed(42)
    model = AutoModelForCausalLM.from_pretrained(job["model"])
    assert isinstance(model, GPT2LMHeadModel)
    clock = Clock(job["warmup"])
    CONTENDERS[contender](model, blocks, job, clock)
    memory = memory_mb()
    block_size = len(blocks["train"][0]["input_ids"])
    tokens_per_s = (job["steps"] - job["warmup"]) * BATCH_SIZE * block_size / clock.seconds()
    result = {
        "first_step_s": clock.times[1] - clock.start,
        "tokens_per_s": tokens_per_s,
        "gflops_per_s": tokens_per_s * flops_per_token(model, block_size) / 1e9,
        "eval_loss": score(model, blocks["test"]).mean_loss,
        "memory_mb": memory,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
