"""What fine-tuning has in common in all three frameworks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import ModelCard
from safetensors import SafetensorError, safe_open

from clmkit.files import describe_files
from clmkit.hub.client import get_token
from clmkit.hub.download import MODEL_FILES, NEEDED_FILES, download
from clmkit.hub.login import user_name
from clmkit.hub.weights import weight_files
from clmkit.kernels import gpu_precision
from clmkit.messages import _
from clmkit.paths import find_files
from clmkit.saving import write_whole
from clmkit.tracks import Track

Framework = Literal["pytorch", "tf_keras", "keras_hub"]
TRAINED_BY: dict[Framework, str] = {
    "pytorch": "06a_train_pytorch",
    "tf_keras": "06b_train_keras",
    "keras_hub": "06c_train_keras_hub",
}

TUNED_ON = "tuned_on"
# Of a track, what a tuned model depends on besides data and model.
OPTIONS: tuple[str, ...] = (
    "data_revision",
    "data_config",
    "rows",
    "text_column",
    "encoding",
    "test_size",
    "block_size",
    "append_eos",
    "epochs",
)
OPTIONS += ("learning_rate",)

Policy = Literal["mixed_bfloat16", "mixed_float16", "float32"]
POLICIES: dict[str, Policy] = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16", "float32": "float32"}


def precision_policy(backend: str) -> Policy:
    """The dtype policy of Keras for this machine.

    Args:
        backend: What computes: ``"tensorflow"`` or ``"torch"``.

    Returns:
        On GPUs the policy for ``gpu_precision``, of the oldest GPU if there are several: arithmetic of half the size
        on float32 weights. With ``"mixed_float16"`` Keras' ``compile`` wraps the optimizer in a
        ``LossScaleOptimizer``, without which small gradients would become 0. ``"float32"`` elsewhere.
    """
    if backend == "torch":
        precision = gpu_precision() or "float32"
    else:
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        oldest = min((detail.get("compute_capability", (0, 0)) for detail in details), default=(0, 0))
        precision = "bfloat16" if oldest >= (8, 0) else "float16" if oldest >= (7, 0) else "float32"
    return POLICIES[precision]


def model_folder(track: Track, framework: Framework = "pytorch") -> Path:
    """Where the notebook of a framework saves the model it trained.

    The folders have the same last part, which is the model's name on the Hub: ``output_dir`` itself for PyTorch,
    and one beside it for each of the others.
    """
    folder = Path(track.output_dir)
    return folder if framework == "pytorch" else folder.parent / framework / folder.name


def is_model(folder: Path) -> bool:
    """Whether ``from_pretrained`` of Transformers would find a model in the folder, and its weights whole."""
    if not (folder / "config.json").is_file():
        return False
    try:
        _read_config(folder)
        files = weight_files(folder)
        for path in files:
            if path.suffix == ".safetensors":
                with safe_open(path, "numpy"):
                    pass  # its header was read, and agrees with its size
    except (FileNotFoundError, SafetensorError, ValueError) as error:  # ValueError: it is no JSON, or no text
        print(_("The model in {folder} was not written whole: {error}", folder=folder.as_posix(), error=str(error)))
        return False
    return bool(files)


def describe_tuning(track: Track) -> dict[str, Any]:
    """What a tuned model depends on, as its ``config.json`` keeps it under ``tuned_on``: no path of this machine."""
    files, weights = find_files(track.data), weight_files(Path(track.model))
    return {
        "data": describe_files(files) if files else track.data,
        "model": describe_files(list(map(str, weights))) if weights else track.model,
        **{name: getattr(track, name) for name in OPTIONS},
    }


def note_tuning(folder: Path, track: Track) -> None:
    """Write into a tuned model's ``config.json`` what it was tuned on; nothing where there is no such file."""
    path = folder / "config.json"
    if path.is_file():
        config = {**_read_config(folder), TUNED_ON: describe_tuning(track)}
        with write_whole(folder) as unfinished:
            (unfinished / path.name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _is_tuned_on(folder: Path, track: Track, name: str) -> bool:
    """Whether a model was tuned as the track says; if not, a line says what differs."""
    found = _read_config(folder).get(TUNED_ON)
    wanted = describe_tuning(track)
    if found == wanted:
        return True
    if found is None:
        print(_("Not using the model in {folder}: it does not say what it was tuned on", folder=name))
        return False
    pairs = [f"{key}: {found.get(key)!r}, {value!r}" for key, value in wanted.items() if found.get(key) != value]
    differences = "; ".join(pairs)
    print(_("Not using the model in {folder}, tuned otherwise ({differences})", folder=name, differences=differences))
    return False


def _find(track: Track, framework: Framework) -> tuple[Path, bool]:
    """The folder of the model that was tuned as the track says, or the first one that is free for it; and which it is.

    A model that was tuned otherwise stays where it is, and the next one goes beside it.
    """
    first = folder = model_folder(track, framework)
    number = 1
    while is_model(folder):
        if _is_tuned_on(folder, track, folder.as_posix()):
            return folder, True
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder, False


def tuned_models(track: Track) -> dict[Framework, Path]:
    """The folders of the models that were tuned as the track says, by the framework that trained them."""
    found = {framework: _find(track, framework) for framework in TRAINED_BY}
    return {framework: folder for framework, (folder, there) in found.items() if there}


def find_or_train(track: Track, framework: Framework, train: Callable[[Path], None]) -> Path:
    """Find the tuned model that a framework's notebook saved or shared, or train it; return its folder, and say which.

    It has to be tuned on the track's data, from its model, with its options. On the full track, a model that was shared
    is looked for in the account that is logged in: training it again takes longer than a download.

    Args:
        track: What it was, or is to be, trained on.
        framework: Which notebook's model.
        train: Trains a model and saves it in the folder that it is given.
    """
    folder, there = _find(track, framework)
    if there:
        print(_("Using the tuned model that is in {folder}", folder=folder.as_posix()))
        return folder
    if track.name == "full" and (shared := _find_shared(track)):
        return shared
    print(
        _(
            "No tuned model in {folder} yet: training it now, as {notebook} does",
            folder=folder.as_posix(),
            notebook=TRAINED_BY[framework],
        )
    )
    train(folder)
    note_tuning(folder, track)
    return folder


def _find_shared(track: Track) -> Path | None:
    """Download the model that the account that is logged in has shared, if it was tuned from the track's model."""
    if get_token() is None:
        return None
    try:
        repo_id = f"{user_name()}/{Path(track.output_dir).name}"
        folder = download(repo_id, MODEL_FILES, required=["README.md", *NEEDED_FILES])
    except OSError as error:
        print(_("No shared model: {problem}", problem=str(error)))
        return None
    if ModelCard.load(folder / "README.md").data.get("base_model") != track.model:
        print(
            _(
                "Not using {name} on the Hub: its card does not say that it was tuned from {model}",
                name=repo_id,
                model=track.model,
            )
        )
        return None
    if TUNED_ON in _read_config(folder) and not _is_tuned_on(folder, track, repo_id):
        return None
    print(_("Using the tuned model {name} on the Hub, commit {commit}", name=repo_id, commit=folder.name))
    return folder
