"""What fine-tuning has in common in all three frameworks."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import ModelCard

from clmkit.files import describe_files
from clmkit.hub.client import get_token
from clmkit.hub.download import CONFIG_FILES, MODEL_FILES, NEEDED_FILES, TOKENIZER_FILES, download
from clmkit.hub.login import user_name
from clmkit.hub.weights import is_model, weight_files
from clmkit.kernels import gpu_precision
from clmkit.messages import _
from clmkit.paths import find_files
from clmkit.saving import write_whole
from clmkit.tracks import Track
from clmkit.training.output_folder import RECORD, TUNED_ON, foreign_files, is_record, name_some

Framework = Literal["pytorch", "tf_keras", "keras_hub"]
TRAINED_BY: dict[Framework, str] = {
    "pytorch": "06a_train_pytorch",
    "tf_keras": "06b_train_keras",
    "keras_hub": "06c_train_keras_hub",
}

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

# Of TrainingArguments, those on which the weights depend; what a step holds in all stands for its parts.
DECISIVE: tuple[str, ...] = (
    "optim",
    "optim_args",
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
)
DECISIVE += ("weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "num_train_epochs")
DECISIVE += ("max_steps", "label_smoothing_factor", "neftune_noise_alpha", "bf16", "fp16", "seed", "data_seed")
DECISIVE += ("load_best_model_at_end", "metric_for_best_model", "greater_is_better")
OF_TRACK = ("learning_rate", "num_train_epochs", "bf16", "fp16")  # or of the machine
ARGUMENTS = "arguments"
SMALL_FILES = (*CONFIG_FILES[:2], *TOKENIZER_FILES)

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


def describe_tuning(track: Track) -> dict[str, Any]:
    """What a tuned model depends on, as its ``config.json`` keeps it under ``tuned_on``: no path of this machine."""
    files, weights = find_files(track.data), weight_files(Path(track.model))
    others = [path for path in (Path(track.model, name) for name in SMALL_FILES) if weights and path.is_file()]
    return {
        "data": describe_files(files, whole=True) if files else track.data,
        "model": describe_files([str(path) for path in (*weights, *others)], whole=True) if weights else track.model,
        **{name: getattr(track, name) for name in OPTIONS},
    }


def describe_training(track: Track, args: Any, usual: Mapping[str, Any]) -> dict[str, Any]:
    """``describe_tuning``, with those of the ``TrainingArguments`` that are not as the course has them.

    Args:
        track: What is trained, and on what.
        args: The ``TrainingArguments``.
        usual: The course's own, where they differ from the library's.
    """
    default = {**{field.name: field.default for field in dataclasses.fields(args)}, **usual}
    names = [*DECISIVE, "per_device_train_batch_size", "gradient_accumulation_steps"]
    values = {name: _plain(getattr(args, name)) for name in names if name not in OF_TRACK}
    others = {name: value for name, value in values.items() if value != _plain(default[name])}
    return {
        **describe_tuning(track),
        "epochs": int(args.num_train_epochs) if float(args.num_train_epochs).is_integer() else args.num_train_epochs,
        "learning_rate": args.learning_rate,
        ARGUMENTS: others,
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is empty is not given."""
    value = value.value if isinstance(value, Enum) else value
    return value if isinstance(value, int | float) else str(value) if value else None


def note_tuning(folder: Path, track: Track) -> None:
    """Write into a tuned model's ``config.json`` what it was tuned on; nothing where there is no such file.

    What ``build_trainer`` has written there of the same data and model says more, and stays.
    """
    path = folder / "config.json"
    if path.is_file():
        config, tuned = _read_config(folder), describe_tuning(track)
        noted = config.get(TUNED_ON) or {}
        if ARGUMENTS in noted and all(noted.get(name) == tuned[name] for name in ("data", "model")):
            return
        with write_whole(folder) as unfinished:
            text = json.dumps({**config, TUNED_ON: tuned}, indent=2) + "\n"
            (unfinished / path.name).write_text(text, encoding="utf-8")


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _is_tuned_on(folder: Path, track: Track, name: str) -> bool:
    """Whether a model was tuned as the track says; if not, a line says what differs."""
    found = _read_config(folder).get(TUNED_ON)
    wanted = describe_tuning(track)
    if found and found.get(ARGUMENTS):
        wanted[ARGUMENTS] = {}
    elif found:
        found.pop(ARGUMENTS, None)
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

    A model that was tuned otherwise stays where it is, and so do other files; the next one goes beside it.
    """
    first = folder = model_folder(track, framework)
    number = 1
    while (there := is_model(folder)) or _is_taken(folder):
        if there and _is_tuned_on(folder, track, folder.as_posix()):
            return folder, True
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder, False


def _is_taken(folder: Path) -> bool:
    """Whether a folder holds what is not to be written over; a line says what."""
    if not folder.is_dir():
        return False
    others = [RECORD] if is_record(folder / RECORD) else foreign_files(folder)
    if others:
        print(
            _("Not using {folder}: it holds other files ({names})", folder=folder.as_posix(), names=name_some(others))
        )
    return bool(others)


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
