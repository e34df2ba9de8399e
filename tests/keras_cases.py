"""Tests that both Kerases have to pass: of ``score``, and of the callbacks in a real ``fit``.

``tests/unit/test_keras_hub.py`` and ``tests/keras_kernel/test_callbacks.py`` import them, and bring the fixture
``side``.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features
from transformers import PreTrainedTokenizerBase

from clmkit.training.keras_callbacks import learning_rate
from tests.fake_hub import TOKEN, FakeHub


class Side(NamedTuple):
    """One Keras, and how to do with it what the two do differently."""

    module: Any  # clmkit.training.tf_keras or .keras_hub
    model: Any  # of one layer, without dropout
    fit: Callable[..., Any]  # model, train, test, batch_size, learning_rate, epochs, callbacks -> History
    load: Callable[[Path], Any]  # a model from a folder
    restore: Callable[[Any, Path, int], int | None]  # a compiled model from checkpoint folder and epoch; the epoch
    optimizer_state: Callable[[Any], list[np.ndarray]]
    set_policy: Callable[[str], None]  # of precision, for models that are made after it


def test_a_model_with_weights_that_are_nan_has_no_score(side: Side, blocks: DatasetDict) -> None:
    side.model.set_weights([np.full_like(weight, np.nan) for weight in side.model.get_weights()])
    with pytest.raises(ValueError, match=r"(\d+) of \1 batches have a loss that is not finite"):
        side.module.score(side.model, blocks["test"], batch_size=4)


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [([], [], "no blocks"), ([[5]], [[5]], "no token is predicted"), ([[5, 6]], [[5, -100]], "no token is predicted")],
    ids=["no blocks", "one token", "masked"],
)
def test_blocks_that_predict_nothing_have_no_score(
    side: Side, blocks: DatasetDict, ids: list[list[int]], labels: list[list[int]], message: str
) -> None:
    int32 = blocks["test"].features["input_ids"]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels}, Features({"input_ids": int32, "labels": int32}))
    with pytest.raises(ValueError, match=message):
        side.module.score(side.model, rows)


def test_training_in_float16_on_float32_weights_comes_out_near_float32(
    side: Side, blocks: DatasetDict, tmp_path: Path
) -> None:
    side.module.export_model(side.model, tmp_path)
    test, how = blocks["test"].select(range(8)), {"batch_size": 8, "learning_rate": 1e-2, "epochs": 2}
    scores = {}
    for policy in ("float32", "mixed_float16"):
        side.set_policy(policy)
        try:
            model, losses = side.load(tmp_path), side.module.LossCallback()
            side.fit(model, blocks["train"].select(range(16)), test, callbacks=[losses], **how)
            scores[policy] = side.module.score(model, test).mean_loss
        finally:
            side.set_policy("float32")
        assert {str(weight.dtype) for weight in model.get_weights()} == {"float32"}
        assert losses.history.test[-1] == (4, pytest.approx(scores[policy], rel=2e-3))
        assert learning_rate(model.optimizer) == pytest.approx(0, abs=1e-8)
    assert type(model.optimizer).__name__.startswith("LossScaleOptimizer")
    assert scores["float32"] != scores["mixed_float16"]
    assert scores["float32"] == pytest.approx(scores["mixed_float16"], rel=0.01)


def test_the_recorded_losses_are_those_of_the_steps(side: Side, blocks: DatasetDict) -> None:
    train, test = blocks["train"].select(range(21)), blocks["test"].select(range(8))
    # With a learning rate of 0 the loss of every step is known before.
    steps = [side.module.score(side.model, train.select([i])).mean_loss for i in range(21)]
    losses = side.module.LossCallback()
    run = side.fit(side.model, train, test, batch_size=1, learning_rate=0.0, epochs=2, callbacks=[losses])
    # 42 steps in twenty parts: two steps each, and one at the end of an epoch.
    expected = [float(np.mean(steps[i : i + 2])) for i in range(0, 21, 2)]
    assert [step for step, _ in losses.history.train] == [*range(2, 21, 2), 21, *range(23, 42, 2), 42]
    assert [loss for _, loss in losses.history.train] == pytest.approx(expected * 2, rel=1e-5)
    assert losses.history.test == [(21, run.history["val_loss"][0]), (42, run.history["val_loss"][1])]
    assert run.history["val_loss"] == pytest.approx([side.module.score(side.model, test).mean_loss] * 2, rel=1e-5)


def test_the_recorded_losses_make_up_those_of_fit(side: Side, blocks: DatasetDict) -> None:
    losses = side.module.LossCallback()
    train, test = blocks["train"].select(range(22)), blocks["test"]
    run = side.fit(side.model, train, test, batch_size=1, learning_rate=1e-2, epochs=2, callbacks=[losses])
    starts = [0, *(step for step, _ in losses.history.train)]
    parts = [(step - start, loss) for start, (step, loss) in zip(starts, losses.history.train, strict=False)]
    epochs = [sum(steps * loss for steps, loss in half) / 22 for half in (parts[:11], parts[11:])]
    assert epochs == pytest.approx(run.history["loss"], rel=1e-5)
    assert epochs[1] < epochs[0] - 0.5
    assert losses.history.test[-1] == (44, run.history["val_loss"][-1])


def test_a_run_is_drawn_with_its_learning_rate(
    side: Side, blocks: DatasetDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("clmkit.widgets.live.display", lambda picture, display_id: shown.append(picture))
    train, test = blocks["train"].select(range(20)), blocks["test"].select(range(8))
    losses = side.module.LossCallback(tokens_per_step=128)
    side.fit(side.model, train, test, batch_size=1, learning_rate=1e-2, epochs=1, callbacks=[losses])
    (picture,) = shown
    assert picture.alt.startswith("Step 20 of 20, ")
    assert f"evaluation from {losses.history.test[0][1]:.2f}" in picture.alt
    assert "the learning rate, from 9.5e-03 to 0.0e+00" in picture.alt


def test_a_model_is_uploaded_while_it_trains(
    side: Side,
    blocks: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    callback = side.module.HubCallback(tmp_path / "tuned", tokenizer=tokenizer, hub_token=TOKEN, checkpoint=True)
    assert hub.repositories == ["tuned"]
    assert hub.uploads == []
    train, test = blocks["train"].select(range(16)), blocks["test"].select(range(8))
    side.fit(side.model, train, test, batch_size=8, learning_rate=1e-2, epochs=2, callbacks=[callback])
    assert hub.repositories == ["tuned"]
    assert hub.tokens == [TOKEN]
    assert {upload.repository for upload in hub.uploads} == {"ada/tuned"}
    assert hub.messages == ["Training in progress, epoch 1", "Training in progress, epoch 2"]
    for upload in hub.uploads:
        assert upload.background, "training would wait for the upload"
        assert {"config.json", "model.safetensors", "tokenizer_config.json"} <= set(upload.files)
    first, second = (upload.files["model.safetensors"] for upload in hub.uploads)
    assert first != second
    assert second == (tmp_path / "tuned" / "model.safetensors").read_bytes()

    # The model is whole, it knows where a text ends, and the state of the optimizer is there to go on with.
    trained, fresh = side.model.get_weights(), side.load(tmp_path / "tuned")
    assert all(map(np.array_equal, fresh.get_weights(), trained))
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "tuned" / name).read_text())["eos_token_id"] == tokenizer.eos_token_id
    fresh.set_weights([np.zeros_like(weight) for weight in trained])
    epoch = side.restore(fresh, tmp_path / "tuned" / "checkpoint", 1)
    assert epoch in (None, 1)
    assert all(map(np.array_equal, fresh.get_weights(), trained))
    state, restored = side.optimizer_state(side.model), side.optimizer_state(fresh)
    assert len(state) == len(restored) > 2 * len(trained)  # two moments of each weight, and the step
    assert all(map(np.array_equal, restored, state))
    assert sum(np.abs(values).sum() > 0 for values in state) > 2 * len(trained)

    # The token is nowhere.
    assert [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()] == []
    output = capsys.readouterr()
    assert "failed" not in output.out
    assert TOKEN not in output.out + output.err
    assert caplog.text == ""


def test_training_goes_on_where_uploads_fail(
    side: Side,
    blocks: DatasetDict,
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.faults = {0: ConnectionError("no route to the Hub"), 1: OSError("disk quota\nand a long page")}
    callback = side.module.HubCallback(tmp_path / "tuned")
    train, test = blocks["train"].select(range(16)), blocks["test"].select(range(8))
    run = side.fit(side.model, train, test, batch_size=8, learning_rate=1e-2, epochs=2, callbacks=[callback])
    assert len(run.history["loss"]) == 2
    assert hub.messages == ["Training in progress, epoch 1", "Training in progress, epoch 2", "End of training"]
    said = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert len(said) == 2
    assert "uploading to ada/tuned failed: ConnectionError: no route to the Hub. The model is safe in" in said[0]
    assert "failed: OSError: disk quota. The model" in said[1]
    assert all(map(np.array_equal, side.load(tmp_path / "tuned").get_weights(), side.model.get_weights()))
