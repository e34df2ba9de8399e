"""What happens beside the Trainer's steps: a folder is held, and a model uploaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from clmkit.hub.upload import Uploads
from clmkit.saving import check_output_dir, write_whole
from clmkit.training.output_folder import hold, is_held, release


class HubCallback(TrainerCallback):
    """Uploads a model over HTTP while the Trainer trains it, and says so when an upload fails.

    The Trainer's own ``push_to_hub=True`` says nothing of an upload that fails while it trains (transformers 5.23).
    """

    def __init__(
        self,
        output_dir: str | Path,
        hub_model_id: str | None = None,
        hub_token: str | None = None,
        hub_private_repo: bool | None = None,
        hub_strategy: str = "every_save",
    ) -> None:
        """Make the repository on the Hub, before any training; the arguments are fields of ``TrainingArguments``.

        Args:
            output_dir: The folder to save into; what is uploaded is this folder, without its checkpoints.
            hub_model_id: As the name for ``push_model``.
            hub_token: As its token.
            hub_private_repo: As its ``private``.
            hub_strategy: ``"end"`` uploads once, at the end.

        Raises:
            OSError: If the folder can't be written, and as ``Uploads``, whose errors are kinds of it.
        """
        self.uploads = Uploads(check_output_dir(output_dir), hub_model_id, hub_token, hub_private_repo)
        self.only_at_end = hub_strategy == "end"

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any) -> None:
        """With every checkpoint, upload the model, unless only the end counts or the last upload is under way."""
        if not (self.uploads.busy or self.only_at_end):
            by_epoch = args.save_strategy == "epoch"
            done = f"epoch {state.epoch:.0f}" if by_epoch else f"step {state.global_step}"
            self._save_and_upload(f"Training in progress, {done}", state, objects)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Wait for the upload under way, and upload the last state unless that was it."""
        self.uploads.finish()
        if self.uploads.step != state.global_step:
            self._save_and_upload("End of training", state, objects)
            self.uploads.finish()

    def _save_and_upload(self, message: str, state: TrainerState, objects: Mapping[str, Any]) -> None:
        with write_whole(self.uploads.folder) as unfinished:
            objects["model"].save_pretrained(unfinished)
            objects["processing_class"].save_pretrained(unfinished)
        self.uploads.start(message, state.global_step)


class HoldFolder(TrainerCallback):
    """Lets one process at a time train into the output folder."""

    held: ClassVar[set[Path]] = set()  # by this process, of a training that was interrupted too

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Take the folder, unless this process has it: from ``train``, or of a training that was interrupted."""
        folder = Path(str(args.output_dir)).resolve()
        if state.is_world_process_zero and not is_held(folder):
            hold(folder, "choose another output_dir; a notebook whose training was interrupted has it until it ends")
            HoldFolder.held.add(folder)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Give it back."""
        folder = Path(str(args.output_dir)).resolve()
        if folder in HoldFolder.held:
            HoldFolder.held.discard(folder)
            release(folder)
