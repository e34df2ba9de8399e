"""What a run says that it will do, against what it does."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetDict
from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase, TrainerCallback

from clmkit.scale.plan import _evaluations
from clmkit.tracks import Track
from clmkit.training.pytorch import build_trainer


class Counter(TrainerCallback):
    """Counts what the Trainer evaluates."""

    seen = 0

    def on_evaluate(self, *_: Any, **__: Any) -> None:
        self.seen += 1


@pytest.mark.parametrize(
    "asked",
    [
        {"eval_strategy": "no"},
        {"eval_strategy": "epoch"},
        {"eval_steps": 2, "max_steps": 7},
        {"eval_steps": 0.1, "max_steps": 5},
        {"eval_steps": 0.5, "max_steps": 7},
    ],
    ids=str,
)
def test_the_plan_counts_each_evaluation(
    asked: dict[str, Any],
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
) -> None:
    counter, track = Counter(), dataclasses.replace(quick, epochs=2, output_dir=str(tmp_path))
    how = {"save_strategy": "no", "disable_tqdm": True, "report_to": "none", "use_cpu": True, **asked}
    trainer = build_trainer(track, model, blocks, tokenizer, callbacks=[counter], **how)
    epochs, *_others, steps = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    before_and_after = 2
    assert _evaluations(trainer.args, epochs, steps, 0) - before_and_after == pytest.approx(_train(trainer, counter))
    assert _evaluations(trainer.args, epochs, steps, steps) == 1  # all that is left of a run that was killed at its end


def _train(trainer: Any, counter: Counter) -> int:
    trainer.train()
    return counter.seen
