"""Watch over a run of training: what is saved is whole and good, and SIGTERM stops it with its place saved."""

import json
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from clmkit.scale.checkpoints import checkpoint_folder, mark_whole, remove_older, unmark
from clmkit.scale.processes import in_any_process
from clmkit.scale.streams import BlockStream

TERMINATED = 128 + signal.SIGTERM  # the status of a process that SIGTERM ended, by which a scheduler starts it again
INTERRUPTED = 128 + signal.SIGINT
STREAM_STATE = "stream.json"


class Interrupted(Exception):
    """SIGTERM came while an evaluation was under way."""


class Guard(TrainerCallback):
    """Marks checkpoints that are whole, stops at SIGTERM, and refuses to go on without a folder or with a loss of NaN.

    Attributes:
        saving: The checkpoint that is to be written next, once it is known; ``None`` at other times.
        stopped: Whether the run stopped early, at SIGTERM or Ctrl-C.
        signal: Its name.
    """

    def __init__(self, output_dir: Path, keep: int | None, stream: BlockStream | None = None) -> None:
        """Make a guard for one run.

        Args:
            output_dir: Where the checkpoints go.
            keep: How many of them to keep; ``None`` keeps all.
            stream: What is trained on, if it is a stream; its place is saved with every checkpoint.
        """
        self.output_dir, self.keep, self.stream = output_dir, keep, stream
        self.saving: Path | None = None
        self.stopped, self.signal = False, "SIGTERM"
        self._asked = self._training = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Take SIGTERM and Ctrl-C: while training at the end of the step, with a checkpoint; elsewhere at once.

        A second Ctrl-C does not wait.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self._asked, self.signal = self._asked, True, signal.Signals(number).name
        if number == signal.SIGINT and (again or not self._training):
            raise KeyboardInterrupt
        if not self._training:
            raise SystemExit(TERMINATED)

    def check_interrupted(self) -> None:
        """Raise ``Interrupted`` if SIGTERM came to any process; all must ask at the same point."""
        if in_any_process(self._asked):
            raise Interrupted

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """From here on SIGTERM waits for the step to end."""
        self._training = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """From here on SIGTERM waits no more."""
        self._training = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Stop with a checkpoint if SIGTERM came; look at what is to be saved."""
        if in_any_process(self._asked):
            self.stopped = control.should_save = control.should_training_stop = True
            control.should_evaluate = False
        self._prepare_to_save(args, state, control, objects["model"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Look at what is to be saved; the step at which a run stopped is saved already."""
        if self.stopped:
            control.should_log = control.should_evaluate = control.should_save = False
        self._prepare_to_save(args, state, control, objects["model"])

    def _prepare_to_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: torch.nn.Module
    ) -> None:
        if not control.should_save:
            return
        if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
            raise FloatingPointError(f"the weights are no longer finite after step {state.global_step}{_float16(args)}")
        self._check_folder()
        self.saving = checkpoint_folder(self.output_dir, state.global_step)
        if state.is_world_process_zero:
            unmark(self.saving)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **objects: Any,
    ) -> None:
        """Stop at a loss that is not finite, and where the folder is gone."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {state.global_step}{_float16(args)}")
        self._check_folder()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any) -> None:
        """Mark the checkpoint when every process has written its part, and only then remove older ones."""
        checkpoint = checkpoint_folder(self.output_dir, state.global_step)
        if self.stream is not None and state.is_world_process_zero:  # in all processes it is in the same place
            (checkpoint / STREAM_STATE).write_text(json.dumps(self.stream.state_dict()), encoding="utf-8")
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            mark_whole(checkpoint)
            best = state.best_global_step if args.load_best_model_at_end else None
            remove_older(checkpoint, self.keep, best)
        self.saving = None

    def _check_folder(self) -> None:
        if not self.output_dir.is_dir():
            raise FileNotFoundError(f"the output folder {self.output_dir} was removed while training")


def _float16(args: TrainingArguments) -> str:
    return ", computed in float16, which --fp16 false switches off" if args.fp16 else ""
