"""What the processes of one run share: an order of the blocks, a voice, the output folder, and the decision to stop."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path

import datasets
import torch
import torch.distributed as dist
from accelerate import PartialState
from transformers.utils import logging

from clmkit.kernels import has_gpu
from clmkit.saving import check_output_dir
from clmkit.training.output_folder import check_free, hold, release


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
        Whether this is the first process, which the launcher says.
    """
    first = os.environ.get("RANK", "0") == "0"
    with contextlib.ExitStack() as undo:
        if logging.is_progress_bar_enabled():
            logging.disable_progress_bar()
            undo.callback(logging.enable_progress_bar)
        if not first:
            if not datasets.are_progress_bars_disabled():
                datasets.disable_progress_bars()
                undo.callback(datasets.enable_progress_bars)
            undo.callback(logging.set_verbosity, logging.get_verbosity())
            logging.set_verbosity_error()
            nowhere = undo.enter_context(open(os.devnull, "w"))
            undo.enter_context(contextlib.redirect_stdout(nowhere))
        yield first


@contextlib.contextmanager
def own_folder(output_dir: str | Path, model: str, *, first: bool) -> Iterator[Path]:
    """Have a folder for one run alone, from here to the end of the block or of the process.

    Args:
        output_dir: The folder; it is made if need be.
        model: The model to start from.
        first: Whether this is the run's first process, which holds the folder for all of them.

    Yields:
        The folder.

    Raises:
        OSError: If the folder can't be written, or another run is at work in it.
        ValueError: If it is the model's own folder, or holds files that are not of a run.
    """
    folder = check_output_dir(output_dir)
    if first:
        check_free(folder, model, option="--output_dir", run=True)
        hold(folder, "choose another --output_dir")
    try:
        yield folder
    finally:
        if first:
            release(folder)


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
