"""What fine-tuning has in common in all three frameworks."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from datasets import DatasetDict
from huggingface_hub import ModelCard

from clmkit.chunking import chunk
from clmkit.download import MODEL_FILES, NEEDED_FILES, download
from clmkit.eli5 import join_answers, load_eli5, split_rows
from clmkit.hub import user_name
from clmkit.hub_client import get_token
from clmkit.messages import translate
from clmkit.tokenization import tokenize
from clmkit.tracks import Track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Framework = Literal["pytorch", "tf_keras", "keras_hub"]
TRAINED_BY: dict[Framework, str] = {
    "pytorch": "06a_train_pytorch",
    "tf_keras": "06b_train_keras",
    "keras_hub": "06c_train_keras_hub",
}


class LossHistory(NamedTuple):
    """Losses of a run, each a list of (step, mean loss per token in nats)."""

    train: list[tuple[int, float]]
    test: list[tuple[int, float]]


def check_output_dir(folder: str | Path) -> Path:
    """Make the folder if need be, and write a file in it, before hours go into a model that could not be saved.

    Raises:
        OSError: If the folder can't be made or written; the message says why.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(
            translate(
                "the output folder {folder!r} can't be written ({problem}): choose another output_dir",
                folder=str(folder),
                problem=error.strerror,
            )
        ) from error
    return folder


@contextmanager
def write_whole(folder: str | Path) -> Iterator[Path]:
    """Put files in place when all are written, so that a write that fails leaves the old ones whole.

    Args:
        folder: Where the files are to be; it is made if need be.

    Yields:
        An empty folder to write them into.

    Raises:
        OSError: If the folder can't be made or written.
    """
    folder = check_output_dir(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unfinished-") as unfinished:
        yield Path(unfinished)
        for path in Path(unfinished).iterdir():
            path.replace(folder / path.name)


def prepare_blocks(track: Track, tokenizer: "PreTrainedTokenizerBase", block_size: int = 128) -> DatasetDict:
    """Notebooks 02 to 05 in one call: load, split, join, tokenize and chunk the track's rows."""
    texts = join_answers(split_rows(load_eli5(track)))
    return chunk(tokenize(texts, tokenizer), block_size)


def precision_policy(backend: str) -> Literal["mixed_bfloat16", "float32"]:
    """The dtype policy of Keras for this machine.

    Args:
        backend: What computes: ``"tensorflow"`` or ``"torch"``.

    Returns:
        ``"mixed_bfloat16"``, bfloat16 arithmetic on float32 weights, where there are GPUs that compute in bfloat16
        themselves; ``"float32"`` elsewhere. float16 is not used: it overflows.
    """
    if backend == "torch":
        import torch

        capable = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        capabilities = [detail.get("compute_capability", (0, 0)) for detail in details]
        capable = bool(capabilities) and min(capabilities) >= (8, 0)
    return "mixed_bfloat16" if capable else "float32"


def model_folder(track: Track, framework: Framework = "pytorch") -> Path:
    """Where the notebook of a framework saves the model it trained.

    The folders have the same last part, which is the model's name on the Hub: ``output_dir`` itself for PyTorch,
    and one beside it for each of the others.
    """
    folder = Path(track.output_dir)
    return folder if framework == "pytorch" else folder.parent / framework / folder.name


def is_model(folder: Path) -> bool:
    """Whether ``from_pretrained`` of Transformers would find a model in the folder."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def tuned_models(track: Track) -> dict[Framework, Path]:
    """The folders of the tuned models that are there, by the framework that trained them."""
    folders: dict[Framework, Path] = {framework: model_folder(track, framework) for framework in TRAINED_BY}
    return {framework: folder for framework, folder in folders.items() if is_model(folder)}


def find_or_train(track: Track, framework: Framework, train: Callable[[Path], None]) -> Path:
    """Find the tuned model that a framework's notebook saved or shared, or train it now, and say which.

    On the full track, a model that was shared is looked for in the account that is logged in: training it again takes
    longer than a download.

    Args:
        track: What it was, or is to be, trained on.
        framework: Which notebook's model.
        train: Trains a model and saves it in the folder that it is given.

    Returns:
        The model's folder.
    """
    folder = model_folder(track, framework)
    if is_model(folder):
        print(translate("Using the tuned model that is in {folder}", folder=folder.as_posix()))
        return folder
    if track.name == "full" and (shared := _find_shared(track)):
        return shared
    print(
        translate(
            "No tuned model in {folder} yet: training it now, as {notebook} does",
            folder=folder.as_posix(),
            notebook=TRAINED_BY[framework],
        )
    )
    train(folder)
    return folder


def _find_shared(track: Track) -> Path | None:
    """Download the model that the account that is logged in has shared, if it was tuned from the track's model."""
    if get_token() is None:
        return None
    try:
        repo_id = f"{user_name()}/{Path(track.output_dir).name}"
        folder = download(repo_id, MODEL_FILES, required=["README.md", *NEEDED_FILES])
    except OSError as error:
        print(translate("No shared model: {problem}", problem=str(error)))
        return None
    if ModelCard.load(folder / "README.md").data.get("base_model") != track.model:
        print(
            translate(
                "Not using {name} on the Hub: its card does not say that it was tuned from {model}",
                name=repo_id,
                model=track.model,
            )
        )
        return None
    print(translate("Using the tuned model {name} on the Hub, commit {commit}", name=repo_id, commit=folder.name))
    return folder
