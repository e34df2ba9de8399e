"""What a run of training says when it cannot go on."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from clmkit.hub.client import is_disk_full
from clmkit.scale.checkpoints import last_whole
from clmkit.scale.guard import Guard

ROOM = 16 * 2**20  # bytes; a disk that does not take so many more is full


@contextmanager
def one_sentence(guard: Guard) -> Iterator[None]:
    """Turn what stops a run into one sentence that says what to do, and what is left.

    Args:
        guard: Of the run; it knows what was being saved.

    Raises:
        MemoryError: If memory ran out.
        FloatingPointError: If the loss or the weights are no longer finite.
        FileNotFoundError: If the output folder was removed.
        OSError: If the disk is full.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise MemoryError(_out_of_memory(guard)) from error
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error}. Lower --learning_rate, or raise --warmup_steps. {_what_is_left(guard)}"
        ) from error
    except Exception as error:
        if not guard.output_dir.is_dir():
            raise FileNotFoundError(
                f"the output folder {guard.output_dir.as_posix()} was removed while training, and all "
                "checkpoints with it: run this again to begin anew"
            ) from error
        if "can't allocate memory" in str(error):  # what PyTorch raises on a CPU is a bare RuntimeError
            raise MemoryError(_out_of_memory(guard)) from error
        # Of a full disk, torch and safetensors raise errors of their own, which have no errno.
        if is_disk_full(error) or (guard.saving and _is_full(guard.output_dir)):
            raise OSError(_not_written(guard, error)) from error
        raise


def _is_full(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            return file.write(bytes(ROOM)) < ROOM
    except OSError as error:
        return is_disk_full(error)


def _out_of_memory(guard: Guard) -> str:
    return (
        "out of memory. Halve --per_device_train_batch_size and double --gradient_accumulation_steps, or take a "
        f"smaller block_size. {_what_is_left(guard)}"
    )


def _not_written(guard: Guard, error: BaseException) -> str:
    """What to say of a failed write; the half that was written is removed, to make room."""
    what = guard.output_dir.name
    if guard.saving:
        what = guard.saving.name
        shutil.rmtree(guard.saving, ignore_errors=True)
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    free = shutil.disk_usage(guard.output_dir).free / 2**20
    return f"{what} could not be written, with {free:,.0f} MiB free ({reason}). Make room. {_what_is_left(guard)}"


def _what_is_left(guard: Guard) -> str:
    whole = last_whole(guard.output_dir)
    return f"{whole.name} is whole: the same call goes on from there" if whole else "There is no checkpoint yet"
