"""What the callbacks of both Kerases share: tf.keras 2 for transformers' TensorFlow models, Keras 3 for KerasHub.

Each class here is the first base of a callback class in ``training.tf_keras`` and in ``training.keras_hub``; the second
is that Keras' own ``Callback``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from clmkit.evaluation import LossHistory
from clmkit.hub.upload import Uploads
from clmkit.saving import check_output_dir
from clmkit.widgets.live import LivePlot

Logs = Mapping[str, float] | None


def fit_verbose() -> Literal["auto", 2]:
    """The ``verbose`` of ``fit``: Keras' progress bar, or a line an epoch in a run that nobody watches."""
    return 2 if os.environ.get("TQDM_DISABLE") == "1" else "auto"


class LossRecorder:
    """Records the loss over the course of ``fit``, as the Trainer's log does.

    Keras gives a callback the mean loss since the epoch's beginning. The mean over each stretch of steps, which shows
    how the loss falls, is the difference of two such sums.

    Attributes:
        history: The mean training loss of every twentieth part of the run, and the evaluation loss of every epoch.
    """

    params: dict[str, Any]  # Keras sets it: epochs, and steps in an epoch
    model: Any  # Keras sets it

    def __init__(self, tokens_per_step: int | None = None) -> None:
        """Make a recorder; with the number of tokens in a batch it draws the run while it goes on (``LivePlot``)."""
        super().__init__()
        self.tokens_per_step = tokens_per_step
        self.history = LossHistory([], [])

    def on_train_begin(self, logs: Logs = None) -> None:
        """Begin anew."""
        self.history, self._learning_rates = LossHistory([], []), list[tuple[int, float]]()
        steps = self.params["epochs"] * self.params["steps"]
        self._plot = LivePlot(steps, self.tokens_per_step) if self.tokens_per_step else None
        self._epoch, self._seen, self._summed, self._stretch = 0, 0, 0.0, max(1, steps // 20)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Take the mean of a stretch when one is complete."""
        steps = batch + 1
        if logs and (steps - self._seen >= self._stretch or steps == self.params["steps"]):
            summed = logs["loss"] * steps
            mean = (summed - self._summed) / (steps - self._seen)
            self.history.train.append((self._epoch * self.params["steps"] + steps, mean))
            self._summed, self._seen = summed, steps
            self._draw()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Take the evaluation's loss."""
        self._epoch, self._seen, self._summed = epoch + 1, 0, 0.0
        if logs and "val_loss" in logs:
            self.history.test.append((self._epoch * self.params["steps"], logs["val_loss"]))

    def on_train_end(self, logs: Logs = None) -> None:
        """Draw the whole run."""
        self._draw(last=True)

    def _draw(self, *, last: bool = False) -> None:
        if self._plot and self.history.train:
            step = self.history.train[-1][0]
            self._learning_rates.append((step, learning_rate(self.model.optimizer)))
            self._plot.update(step, self.history, self._learning_rates, last=last)


def learning_rate(optimizer: Any) -> float:
    """The learning rate at this step, of an optimizer of either Keras, with or without a schedule."""
    rate = optimizer.learning_rate
    return float(rate(optimizer.iterations) if callable(rate) else rate)


class HubUpload:
    """Uploads the model while it trains, with the arguments of transformers' ``PushToHubCallback``.

    That one drives git and git-lfs, writes the token to ``~/.git-credentials`` and into the clone's address, and says
    nothing when a push fails. This one uploads over HTTP, writes the token nowhere, and says so when an upload fails;
    training goes on, and the folder keeps the model whole. The card is not its business: ``write_card`` writes one
    when the figures are known, and ``push_model`` adds it.
    """

    model: Any  # Keras sets it

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        save_strategy: Literal["no", "epoch", "steps"] = "epoch",
        save_steps: int | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        hub_model_id: str | None = None,
        hub_token: str | None = None,
        checkpoint: bool = False,
        hub_private_repo: bool | None = None,
    ) -> None:
        """Make the repository on the Hub, before any training.

        Args:
            output_dir: The folder to save into; what is uploaded is this folder.
            save_strategy: Save and upload every ``"epoch"``, every ``save_steps`` steps, or ``"no"``: at the end only.
            save_steps: How many steps between two uploads with ``save_strategy="steps"``.
            tokenizer: Saved with the model, so that the model can be used.
            hub_model_id: As the name for ``push_model``.
            hub_token: As its token.
            checkpoint: Save the optimizer's state too, with ``save_strategy="epoch"``.
            hub_private_repo: As its ``private``.

        Raises:
            ValueError: If the arguments don't fit together.
            OSError: If the folder can't be written, and as ``Uploads``, whose errors are kinds of it.
        """
        super().__init__()
        if save_strategy not in ("no", "epoch", "steps"):
            raise ValueError(f"save_strategy must be 'no', 'epoch' or 'steps', not {save_strategy!r}")
        if save_strategy == "steps" and (type(save_steps) is not int or save_steps < 1):
            raise ValueError(f"save_strategy='steps' needs save_steps of 1 or more, not {save_steps!r}")
        if checkpoint and save_strategy != "epoch":
            raise ValueError(f"checkpoint=True needs save_strategy='epoch', not {save_strategy!r}")
        self.output_dir = check_output_dir(Path(output_dir))
        self.save_strategy, self.save_steps, self.checkpoint = save_strategy, save_steps, checkpoint
        self.tokenizer = tokenizer
        self.uploads = Uploads(self.output_dir, hub_model_id, hub_token, hub_private_repo)
        self._step = 0

    def save_model(self) -> None:
        """Save model and tokenizer as a Transformers model; each framework's class says how."""
        raise NotImplementedError

    def save_checkpoint(self, epoch: int) -> None:
        """Save what resuming needs besides the model; each framework's class says how."""
        raise NotImplementedError

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Count the step; with ``save_strategy="steps"``, save and upload."""
        self._step += 1
        if self.save_strategy == "steps" and (batch + 1) % (self.save_steps or 1) == 0:
            self._save_and_upload(f"Training in progress, step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """With ``save_strategy="epoch"``, save and upload."""
        if self.save_strategy == "epoch":
            self._save_and_upload(f"Training in progress, epoch {epoch + 1}", epoch if self.checkpoint else None)

    def on_train_end(self, logs: Logs = None) -> None:
        """Wait for the upload under way, and save and upload the last state unless that was it."""
        self.uploads.finish()
        if self.uploads.step != self._step:
            self._save_and_upload("End of training")
            self.uploads.finish()

    def _save_and_upload(self, message: str, checkpoint_epoch: int | None = None) -> None:
        """Save, and start an upload, unless one is under way: it reads the files that saving would replace."""
        if self.uploads.busy:
            return
        self.save_model()
        if checkpoint_epoch is not None:
            self.save_checkpoint(checkpoint_epoch)
        self.uploads.start(message, self._step)
