"""What both Kerases' callbacks share, called by hand as Keras calls it; ``keras_cases`` has the real ``fit``."""

import math
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clmkit.evaluation import LossHistory
from clmkit.training.keras_callbacks import HubUpload, LossRecorder, fit_verbose
from tests.fake_hub import FakeHub

LOGS = {"loss": 3.0, "val_loss": 2.5}


@pytest.mark.parametrize(("value", "verbose"), [("1", 2), ("0", "auto"), (None, "auto")])
def test_fit_draws_no_bars_in_a_run_that_nobody_watches(
    monkeypatch: pytest.MonkeyPatch, value: str | None, verbose: Any
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    if value:
        monkeypatch.setenv("TQDM_DISABLE", value)
    assert fit_verbose() == verbose


def record(epochs: list[list[float]], test: list[float]) -> LossHistory:
    """Call a recorder as ``fit`` does: with the mean loss since the epoch began."""
    recorder = LossRecorder()
    recorder.params = {"epochs": len(epochs), "steps": len(epochs[0])}
    recorder.on_train_begin()
    for epoch, losses in enumerate(epochs):
        for batch in range(len(losses)):
            recorder.on_train_batch_end(batch, {"loss": math.fsum(losses[: batch + 1]) / (batch + 1)})
        recorder.on_epoch_end(epoch, {"loss": math.fsum(losses) / len(losses), "val_loss": test[epoch]})
    return recorder.history


@st.composite
def runs(draw: st.DrawFn) -> list[list[float]]:
    steps = draw(st.integers(1, 70))
    epoch = st.lists(st.floats(0, 12), min_size=steps, max_size=steps)
    return draw(st.lists(epoch, min_size=1, max_size=4))


@given(runs())
def test_each_recorded_loss_is_the_mean_of_the_steps_since_the_one_before(epochs: list[list[float]]) -> None:
    steps, total = len(epochs[0]), len(epochs) * len(epochs[0])
    test = [float(epoch) for epoch in range(len(epochs))]
    history = record(epochs, test)
    by_step = [loss for losses in epochs for loss in losses]
    ends = [step for step, _ in history.train]
    starts = [0, *ends[:-1]]
    means = [math.fsum(by_step[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)]
    # The sums run to 12 * 70, so what a difference of two keeps is that times a float's precision.
    assert [loss for _, loss in history.train] == pytest.approx(means, abs=1e-9)
    # No step is left out, none counts in two epochs, and no stretch is longer than a twentieth of the run.
    assert {(epoch + 1) * steps for epoch in range(len(epochs))} <= set(ends)
    assert max(b - a for a, b in zip(starts, ends, strict=True)) == min(steps, max(1, total // 20))
    assert history.test == [((epoch + 1) * steps, loss) for epoch, loss in enumerate(test)]


def test_a_loss_that_is_nan_stays_nan() -> None:
    history = record([[1.0, math.nan, 2.0]], [math.nan])
    assert [math.isnan(loss) for _, loss in history.train] == [False, True, True]
    assert math.isnan(history.test[0][1])


def test_a_second_fit_begins_anew() -> None:
    recorder = LossRecorder()
    recorder.params = {"epochs": 1, "steps": 1}
    for loss in (5.0, 4.0):
        recorder.on_train_begin()
        recorder.on_train_batch_end(0, {"loss": loss})
        recorder.on_epoch_end(0, {"loss": loss})
    assert recorder.history == LossHistory([(1, 4.0)], [])


class Callback(HubUpload):
    """Saves, for a model, a file that says how often it was saved."""

    saved = 0

    def save_model(self) -> None:
        self.saved += 1
        (self.output_dir / "model.safetensors").write_text(str(self.saved))

    def save_checkpoint(self, epoch: int) -> None:
        (self.output_dir / "checkpoint").write_text(str(epoch))


def run(callback: Callback, epochs: int = 2, steps: int = 5) -> Callback:
    for epoch in range(epochs):
        for batch in range(steps):
            callback.on_train_batch_end(batch, {"loss": 3.0})
        callback.on_epoch_end(epoch, LOGS)
    callback.on_train_end()
    return callback


EPOCHS = ["Training in progress, epoch 1", "Training in progress, epoch 2"]
STEPS = ["Training in progress, step 2", "Training in progress, step 4"]


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({}, EPOCHS),
        ({"save_strategy": "no"}, ["End of training"]),
        ({"save_strategy": "steps", "save_steps": 2}, [*STEPS, *STEPS, "End of training"]),
        ({"save_strategy": "steps", "save_steps": 5}, ["Training in progress, step 5"] * 2),
        ({"save_strategy": "steps", "save_steps": 6}, ["End of training"]),
    ],
)
def test_it_saves_and_uploads_when_it_was_asked_to_and_at_the_end_what_is_not_uploaded_yet(
    hub: FakeHub,
    tmp_path: Path,
    arguments: dict[str, Any],
    messages: list[str],
) -> None:
    callback = run(Callback(tmp_path / "tuned", **arguments))
    assert hub.messages == messages
    assert all(upload.background for upload in hub.uploads), "training would wait for an upload"
    assert [upload.files["model.safetensors"] for upload in hub.uploads] == [
        str(number + 1).encode() for number in range(len(hub.uploads))
    ]
    assert callback.saved == len(hub.uploads)
    assert all("checkpoint" not in upload.files for upload in hub.uploads)


def test_a_checkpoint_is_saved_with_every_epoch(hub: FakeHub, tmp_path: Path) -> None:
    run(Callback(tmp_path / "tuned", checkpoint=True))
    assert [upload.files["checkpoint"] for upload in hub.uploads] == [b"0", b"1"]


def test_the_repository_is_made_before_training_under_the_folders_name_or_the_one_given(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Callback("quick/my_model")
    Callback("quick/my_model", hub_model_id="other", hub_token="secret", hub_private_repo=True)
    assert hub.private[-1] is True
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Callback(".")
    assert hub.repositories == ["my_model", "other", "here"]
    assert hub.tokens == [None, "secret", None]
    assert hub.uploads == []


def test_a_hub_that_refuses_the_repository_is_an_error_before_training(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError("this token may only read")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(ConnectionError, match=r"making the repository tuned failed: .*may only read") as caught:
        Callback(tmp_path / "tuned")
    assert "with a token that may write" in str(caught.value)


def test_nothing_is_saved_under_an_upload_that_is_still_running(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = {0: None}
    callback = Callback(tmp_path)
    callback.on_epoch_end(0, LOGS)
    callback.on_epoch_end(1, LOGS)
    assert (callback.saved, hub.messages) == (1, EPOCHS[:1])
    assert (tmp_path / "model.safetensors").read_text() == "1"
    hub.uploads[0].job.set_result(None)
    callback.on_epoch_end(2, LOGS)
    assert (callback.saved, hub.messages) == (2, [EPOCHS[0], "Training in progress, epoch 3"])


def test_the_end_waits_for_the_upload_under_way_and_for_the_last(
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.faults = {0: None, 1: None}
    callback = Callback(tmp_path)
    callback.on_epoch_end(0, LOGS)
    end = threading.Thread(target=callback.on_train_end)
    end.start()
    end.join(0.2)
    assert (end.is_alive(), callback.saved) == (True, 1)
    hub.uploads[0].job.set_exception(ConnectionError("gone"))
    end.join(0.2)
    assert (end.is_alive(), callback.saved, hub.messages) == (True, 2, [EPOCHS[0], "End of training"])
    hub.uploads[1].job.set_result(None)
    end.join(5)
    assert not end.is_alive()
    assert f"Waiting for the upload to ada/{tmp_path.name}\n" in capsys.readouterr().out


def test_each_upload_that_fails_is_told_once_in_a_sentence_with_the_reason_and_the_way_out(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.faults = {0: ConnectionError("the Hub is down\n(request ID 1)")}
    run(Callback("tuned"), epochs=3)
    assert capsys.readouterr().out == (
        "While training, uploading to ada/tuned failed: ConnectionError: the Hub is down. "
        "The model is safe in tuned; to upload it: push_model('tuned')\n"
    )
    assert len(hub.uploads) == 3
    assert hub.uploads[-1].files["model.safetensors"] == b"3"


def test_a_last_upload_that_fails_is_told_and_tried_once_more(
    hub: FakeHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.faults = {1: ConnectionError("gone"), 2: ConnectionError("still gone")}
    callback = run(Callback(tmp_path))
    assert hub.messages == [*EPOCHS, "End of training"]
    said = capsys.readouterr().out.splitlines()
    assert ["ConnectionError: gone." in line for line in said] == [True, False]
    assert "ConnectionError: still gone." in said[1]
    run(callback)  # a second fit has no failures of its own
    assert "failed" not in capsys.readouterr().out


def test_the_last_state_is_uploaded_at_the_end_if_an_upload_was_under_way_when_it_was_reached(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults = {0: None}
    callback = Callback(tmp_path)
    fit = threading.Thread(target=run, args=(callback,))
    fit.start()
    fit.join(0.2)
    assert (fit.is_alive(), hub.messages) == (True, EPOCHS[:1])
    hub.uploads[0].job.set_result(None)
    fit.join(5)
    assert hub.messages == [EPOCHS[0], "End of training"]
