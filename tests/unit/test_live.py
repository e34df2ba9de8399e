"""The picture that grows while a model trains; ``keras_cases`` has it in a real ``fit``."""

from typing import Any

import pytest
from datasets import DatasetDict
from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.evaluation import LossHistory
from clmkit.tracks import Track
from clmkit.training.pytorch import LivePlotCallback, build_trainer
from clmkit.widgets import live
from clmkit.widgets.live import LivePlot

HISTORY = LossHistory([(5, 4.0), (10, 3.0)], [(10, 3.5)])
RATES = [(5, 2e-3), (10, 1e-3)]


class Place:
    """Stands for what a notebook shows: one picture, which may change."""

    def __init__(self) -> None:
        self.pictures: list[Any] = []
        self.places = 0

    def display(self, picture: Any, *, display_id: bool) -> "Place":
        assert display_id
        self.places += 1
        return self.update(picture)

    def update(self, picture: Any) -> "Place":
        self.pictures.append(picture)
        return self


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place()
    monkeypatch.setattr(live, "display", found.display)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, for a test to change."""
    now = [100.0]
    monkeypatch.setattr(live.time, "perf_counter", lambda: now[0])
    return now


def test_one_picture_changes_at_most_once_a_second(
    place: Place, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLMKIT_WIDGETS", raising=False)
    plot = LivePlot(steps=20, tokens_per_step=1024)
    for second, step in ((102.0, 5), (102.5, 6), (104.0, 10)):
        clock[0] = second
        plot.update(step, HISTORY, RATES)
    assert place.places == 1
    first, second_picture = (picture.alt for picture in place.pictures)
    assert first.startswith("Step 5 of 20, 2,560 tokens/s, about 6 s left. ")
    assert second_picture.startswith("Step 10 of 20, 2,560 tokens/s, about 4 s left. ")
    assert "training from 4.00 to 3.00, evaluation from 3.50 to 3.50" in first
    assert "the learning rate, from 2.0e-03 to 1.0e-03" in first
    assert place.pictures[0].png.startswith(b"\x89PNG")


def test_the_last_picture_is_drawn_in_any_case(
    place: Place, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLMKIT_WIDGETS", raising=False)
    plot = LivePlot(steps=10, tokens_per_step=100)
    clock[0] = 102.0
    plot.update(9, HISTORY, RATES)
    clock[0] = 102.1
    plot.update(10, HISTORY, RATES, last=True)
    assert place.pictures[-1].alt.startswith("Step 10 of 10, 476 tokens/s, 2 s in all. ")
    assert place.places == 1


def test_a_resumed_runs_speed_counts_what_this_part_did(place: Place, clock: list[float]) -> None:
    plot = LivePlot(steps=20, tokens_per_step=1024, done=10)
    clock[0] = 102.0
    plot.update(15, HISTORY, RATES, last=True)
    assert place.pictures[0].alt.startswith("Step 15 of 20, 2,560 tokens/s, ")


def test_nothing_is_drawn_before_there_is_a_loss(place: Place, clock: list[float]) -> None:
    plot = LivePlot(steps=10, tokens_per_step=100)
    clock[0] = 110.0
    plot.update(1, LossHistory([], []), [])
    plot.update(1, LossHistory([], []), [], last=True)
    assert place.pictures == []


def test_the_trainer_draws_one_picture_in_a_run_that_nobody_watches(
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    place: Place,
    tmp_path: Any,
) -> None:
    how = {"max_steps": 4, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    trainer = build_trainer(quick, model, blocks, tokenizer, output_dir=str(tmp_path), learning_rate=1e-3, **how)
    trainer.add_callback(LivePlotCallback())
    trainer.train()
    (picture,) = place.pictures
    assert picture.alt.startswith("Step 4 of 4, ")
    seconds = trainer.state.log_history[-1]["train_runtime"]
    speed = float(picture.alt.split(", ")[1].split()[0].replace(",", ""))
    assert speed == pytest.approx(4 * 8 * len(blocks["train"][0]["input_ids"]) / seconds, rel=0.5)
    assert "the learning rate, from 1.0e-03 to 2.5e-04" in picture.alt


def test_an_evaluation_before_or_after_training_draws_nothing(
    place: Place,
    quick: Track,
    model: GPT2LMHeadModel,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLMKIT_WIDGETS", "1")
    how = {"max_steps": 2, "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    trainer = build_trainer(quick, model, blocks, tokenizer, output_dir=str(tmp_path), **how)
    trainer.add_callback(LivePlotCallback())
    trainer.evaluate()
    assert not place.pictures
    trainer.train()
    drawn = len(place.pictures)
    monkeypatch.setattr(live.time, "perf_counter", lambda: float("inf"))
    trainer.evaluate()
    assert len(place.pictures) == drawn
    assert "s in all" in place.pictures[-1].alt
