"""What the processes of one run share: an order of the blocks, a score, and the decision to stop."""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from itertools import chain, zip_longest
from typing import Any

import datasets
import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers.utils import logging

from clmkit.evaluation import Score, batch_loss, evaluation_mode, sum_losses
from clmkit.tracks import has_gpu


class EpochBlocks(torch.utils.data.Dataset[dict[str, list[int]]]):
    """Blocks in an order of their own for every epoch, filled up so that they divide evenly.

    With several processes accelerate would fill the last step up with blocks that were seen before. Here it is filled
    up with blocks whose labels are all -100: they count for nothing, so a step has the same loss and gradient however
    many processes share it. The order is that of the Trainer's own sampler.
    """

    def __init__(self, blocks: datasets.Dataset, *, multiple_of: int, seed: int) -> None:
        """Make the first epoch.

        Args:
            blocks: Rows of ``input_ids``.
            multiple_of: Blocks in one step of all processes.
            seed: Of the order.
        """
        self.blocks, self.seed = blocks, seed
        self.length = -(-len(blocks) // multiple_of) * multiple_of
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Put the blocks into the order of an epoch; accelerate's data loader calls it."""
        generator = torch.Generator().manual_seed(self.seed + epoch)
        self.order: list[int] = torch.randperm(len(self.blocks), generator=generator).tolist()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> dict[str, list[int]]:
        if position < len(self.order):
            return dict(self.blocks[self.order[position]])
        ids = self.blocks[0]["input_ids"]
        return {"input_ids": ids, "labels": [-100] * len(ids)}


class Interrupted(Exception):
    """An evaluation was given up."""


def score_together(
    model: Any, blocks: datasets.Dataset, batch_size: int = 16, interrupted: Callable[[], bool] = lambda: False
) -> Score:
    """``evaluation.score``, with the batches dealt out to all processes; the sum is the same to the last digit.

    Args:
        model: The model, which every process holds, whole or its part of it.
        blocks: Rows of ``input_ids`` of equal length.
        batch_size: Blocks in one forward pass.
        interrupted: Is asked before every batch whether to give up; its answer must be the same in all processes.

    Returns:
        The summed loss and the number of predicted tokens of all blocks.

    Raises:
        Interrupted: If it was.
        ValueError: As ``evaluation.score``.
    """
    state = PartialState()
    batches = -(-len(blocks) // batch_size)
    mine: list[tuple[float, int]] = []
    with evaluation_mode(model):
        for start in range(0, batches, state.num_processes):
            if interrupted():
                raise Interrupted
            number = start + state.process_index
            # Where the model is sharded, every process has to take part in every round.
            first = min(number, batches - 1) * batch_size
            rows = blocks[first : first + batch_size]
            pair = batch_loss(model, rows)
            if number < batches:
                mine.append(pair)
    shares = gather_object([mine]) if state.num_processes > 1 else [mine]
    dealt = chain.from_iterable(zip_longest(*shares))
    return sum_losses(pair for pair in dealt if pair is not None)


def join_processes(*, cpu: bool = False, backend: str | None = None, timeout: float = 1800) -> PartialState:
    """Meet the other processes that the launcher started, if it did.

    Args:
        cpu: Compute on the CPU even where there is a GPU.
        backend: How processes talk to each other; by default nccl between GPUs and gloo between CPUs.
        timeout: Seconds to wait for each other at most.

    Returns:
        What accelerate knows of the processes.

    Raises:
        RuntimeError: If accelerate does not see as many processes as the launcher started.
    """
    state = PartialState(cpu=cpu or not has_gpu(), backend=backend, timeout=timedelta(seconds=timeout))
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != started:
        raise RuntimeError(f"the launcher started {started} processes, of which accelerate sees {state.num_processes}")
    return state


@contextlib.contextmanager
def one_voice() -> Iterator[bool]:
    """Let only the first process of a run print, warn and draw bars; and no one a bar for each file of weights.

    Yields:
        Whether this is the first process.
    """
    with contextlib.ExitStack() as undo:
        if logging.is_progress_bar_enabled():
            logging.disable_progress_bar()
            undo.callback(logging.enable_progress_bar)
        first = bool(PartialState().is_main_process)
        if not first:
            if not datasets.are_progress_bars_disabled():
                datasets.disable_progress_bars()
                undo.callback(datasets.enable_progress_bars)
            undo.callback(logging.set_verbosity, logging.get_verbosity())
            logging.set_verbosity_error()
            nowhere = undo.enter_context(open(os.devnull, "w"))
            undo.enter_context(contextlib.redirect_stdout(nowhere))
        yield first


def in_any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask at the same point.

    They agree on the CPU, so that a GPU need not finish its work first.
    """
    if PartialState().num_processes == 1:
        return flag
    answer = torch.tensor(int(flag))
    dist.all_reduce(answer, op=dist.ReduceOp.MAX, group=_cpu_group())
    return bool(answer.item())


@cache
def _cpu_group() -> dist.ProcessGroup | None:
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")
