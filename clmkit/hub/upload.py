"""Upload a model to the Hub, while it trains and when it is done, so that no failure goes unsaid."""

import json
import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi

from clmkit.hub.client import hub_step, is_hub_error, reason
from clmkit.hub.weights import weight_files
from clmkit.messages import _
from clmkit.saving import write_whole

# What it takes to resume, which is larger than the model and of use to no one else, texts, which are not ours, and the
# record of a run, which tells of folders on this machine.
NOT_SHARED = ["checkpoint-*", "unfinished-*", "training_args.bin", "trainer_state.json", "held_out.parquet", "run.json"]
NOT_SHARED += ["logs/*", "wandb/*", "mlruns/*", "desktop.ini", "Thumbs.db"]
NOT_SHARED += ["runs/*", "*.log", "*.out", "*.err", ".*", "*/.*", "__pycache__/*", "*/__pycache__/*"]
# A model's folder in the Hub's cache, which PEFT writes where a name on the Hub is meant.
CACHED = re.compile(r'(?:\b[A-Za-z]:)?[\\/][^"\n]*?models--([\w.-]+)[\\/]+snapshots[\\/]+\w+')
NAMING = ("adapter_config.json", "config.json", "tokenizer_config.json", "README.md")


class Uploads:
    """Uploads of one folder in the background; a failure is printed, and the work that goes on meanwhile does.

    Attributes:
        repo_id: The repository on the Hub: ``account/name``.
        last_job: The last upload; ``None`` before the first, and once its end has been looked at.
        step: The training step whose model was last uploaded; ``None`` before the first upload and after a failed one.
    """

    def __init__(
        self, folder: Path, name: str | None = None, token: str | None = None, private: bool | None = None
    ) -> None:
        """Make the repository on the Hub, unless it is there.

        Args:
            folder: What is uploaded.
            name: The repository; by default the last part of the folder's path, in the account that is logged in.
            token: A token that may write; by default the one that you logged in with.
            private: Whether a new repository is private; by default as the account has it. One that is there already
                and public is refused where ``True`` is asked for.

        Raises:
            PermissionError: If the Hub does not let you make the repository, or it is public and shall not be.
            ConnectionError: If the Hub, or the way to it, fails.
        """
        self.folder, self.api = folder, HfApi(token=token)
        self.last_job: Future[CommitInfo] | None = None
        self.step: int | None = None
        self.repo_id = _create_repo(self.api, folder, name, private)

    @property
    def busy(self) -> bool:
        """Whether an upload is under way, which reads the folder's files."""
        return self.last_job is not None and not self.last_job.done()

    def start(self, message: str, step: int) -> None:
        """Begin to upload the model as it is after so many training steps, with a message for the commit."""
        self.finish()
        try:
            name_base_models(self.folder)
        except ValueError as error:
            print(_("Not uploading to {name}: {problem}", name=self.repo_id, problem=error))
            return
        self.step = step
        self.last_job = self.upload(message, run_as_future=True)

    def upload(self, message: str, **how: Any) -> Any:
        """``upload_folder`` of huggingface_hub, without what is not to be shared."""
        return self.api.upload_folder(
            repo_id=self.repo_id,
            folder_path=self.folder,
            commit_message=message,
            ignore_patterns=NOT_SHARED,
            **how,
        )

    def finish(self) -> None:
        """Wait for the upload that is under way, and print what went wrong if it failed."""
        if self.last_job is None:
            return
        if self.busy:
            print(_("Waiting for the upload to {name}", name=self.repo_id))
        try:
            self.last_job.result()
        except Exception as error:
            if not is_hub_error(error):
                raise
            message = _(
                "While training, uploading to {name} failed: {reason}. "
                "The model is safe in {folder}; to upload it: push_model('{folder}')",
                name=self.repo_id,
                reason=reason(error),
                folder=self.folder.as_posix(),
            )
            print(message)
            self.step = None
        self.last_job = None


def push_model(
    folder: str | Path, name: str | None = None, token: str | None = None, private: bool | None = None
) -> str:
    """Upload a folder's model to the Hub in one commit (the guide's ``trainer.push_to_hub()``).

    What the repository has already is neither uploaded nor committed a second time, so a push that failed can be
    repeated.

    Args:
        folder: A model that is saved whole, with its card.
        name: The repository; by default the last part of the folder's path, in the account that is logged in.
        token: A token that may write; by default the one that you logged in with.
        private: Whether a new repository is private; by default as the account has it. One that is there already and
            public is refused where ``True`` is asked for.

    Returns:
        The address of the model's page.

    Raises:
        FileNotFoundError: If there is no whole model in the folder.
        ValueError: If the index of its weights names none, or it is an adapter to a model that only this machine has.
        PermissionError: If there is no token that may write, or the repository is public and shall not be.
        ConnectionError: If the Hub, or the way to it, fails.
    """
    folder = Path(folder)
    adapter = (folder / "adapter_model.safetensors").is_file()
    for path in [] if adapter else weight_files(folder) or [folder / "model.safetensors"]:
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path.name} in {folder.as_posix()}: save the model there first")
    name_base_models(folder)
    uploads = Uploads(folder, name, token, private)
    print(_("Uploading to {name}", name=uploads.repo_id))
    remedy = f"The model is safe in {folder.as_posix()}; to upload it: push_model({folder.as_posix()!r})"
    with hub_step(f"uploading to {uploads.repo_id}", remedy):
        uploads.upload("Share the tuned model with its card")
    return f"{uploads.api.endpoint}/{uploads.repo_id}"


def name_base_models(folder: Path) -> None:
    """Put names on the Hub in the place of folders of its cache, in what is about to be shared.

    Raises:
        ValueError: If it is an adapter to a model in another folder of this machine, which no one else could load.
    """
    how = {"encoding": "utf-8", "errors": "surrogateescape"}
    texts = {name: (folder / name).read_text(**how) for name in NAMING if (folder / name).is_file()}
    named = {name: CACHED.sub(lambda found: found[1].replace("--", "/"), text) for name, text in texts.items()}
    if named != texts:
        with write_whole(folder) as unfinished:
            for name in (name for name in named if named[name] != texts[name]):
                (unfinished / name).write_text(named[name], **how)
    if adapter := named.get("adapter_config.json"):
        base = Path(json.loads(adapter).get("base_model_name_or_path") or "")
        if base.is_absolute() or (base.name and base.is_dir()):
            raise ValueError(
                f"the adapter in {folder.as_posix()} is for the model in {base.as_posix()}, which only this "
                "machine has: share that model first, and write its name on the Hub into adapter_config.json, as "
                "base_model_name_or_path"
            )


def _create_repo(api: HfApi, folder: Path, name: str | None, private: bool | None) -> str:
    """Make the repository unless it is there; the Hub leaves one that is there as it is, public or private."""
    name = name or folder.absolute().name
    remedy = "Run this again with a token that may write; everything else works without"
    with hub_step(f"making the repository {name}", remedy):
        repo_id = str(api.create_repo(name, exist_ok=True, private=private).repo_id)
    if private:
        with hub_step(f"asking whether {repo_id} is private", remedy):
            is_private = api.model_info(repo_id).private
        if not is_private:
            raise PermissionError(
                f"the repository {repo_id} is public, and a private one was asked for: nothing was uploaded. Take "
                "another name, or make it private first: "
                f"HfApi().update_repo_settings({repo_id!r}, private=True)"
            )
    return repo_id
