"""The Trainer of an unattended run."""

import math
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer

from clmkit.evaluation import score
from clmkit.scale.guard import Guard, Interrupted
from clmkit.scale.processes import EpochBlocks
from clmkit.scale.streams import BlockStream


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
        """The mean loss from the summed losses of all processes; infinite, and not logged, if SIGTERM came."""
        model: Any = self.model
        blocks = self.eval_dataset if eval_dataset is None else eval_dataset
        loss, perplexity = f"{metric_key_prefix}_loss", f"{metric_key_prefix}_perplexity"
        try:
            result = score(model, blocks, self.args.eval_batch_size, before_batch=self.guard.check_interrupted)
        except Interrupted:
            self.guard.stopped = self.control.should_save = self.control.should_training_stop = True
            return {loss: math.inf, perplexity: math.inf}  # never the best
        metrics = {loss: result.mean_loss, perplexity: result.perplexity}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
