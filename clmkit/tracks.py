"""Choose what a notebook runs on: the bundled sample and tiny model, or the guide's own data and model."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from clmkit.hub.download import MODEL_FILES, NEEDED_FILES, cached_folder
from clmkit.hub.login import check_hub, hub_problem
from clmkit.messages import _, break_lines

BUNDLED = Path(__file__).parent / "bundled"
SAMPLE = BUNDLED / "eli5_sample.jsonl"
HUB_DATA = "dany0407/eli5_category"
HUB_MODEL = "distilbert/distilgpt2"
DATA_REVISIONS = ("main", "refs/convert/parquet")
DATA_FILES = "*train*.parquet"
MODEL_NAME = "my_awesome_eli5_clm-model"  # the guide's name for what it trains

# Measured in float32 on two CPU cores, with the tiny GPT-2 and with a random model of DistilGPT2's shape. A CPU with
# bfloat16 is faster (benchmarks/README.md).
CPU_TOKENS_PER_SECOND = {"quick": 9000, "full": 290}
ELI5_TOKENS_PER_ROW = 334  # of GPT-2's, in real rows; four in five are trained on


@dataclass(frozen=True)
class Track:
    """What one run of the course works on.

    Attributes:
        name: ``"quick"`` or ``"full"``.
        data: A Hub dataset id, or the path of a local file.
        model: A Hub model id, or the path of a model folder: the model to start from.
        rows: How many rows to load at most; ``None`` loads all.
        epochs: How often training goes through the data.
        learning_rate: Peak learning rate of the fine-tuning. DistilGPT2 takes the guide's 2e-5; the tiny model has to
            learn in seconds and takes more.
        prompt: A text to continue: the guide's own on the full track, one that the sample can answer on the quick one.
        output_dir: Where the tuned model is saved, relative to the working folder. Its last part is its name on the
            Hub.
    """

    name: str
    data: str
    model: str
    rows: int | None
    epochs: int
    learning_rate: float
    prompt: str
    output_dir: str


def has_gpu() -> bool:
    """Whether PyTorch, or TensorFlow where there is no PyTorch, sees a GPU (CUDA, ROCm or Apple's MPS)."""
    if importlib.util.find_spec("torch"):
        import torch

        return torch.cuda.is_available() or torch.backends.mps.is_available()
    if importlib.util.find_spec("tensorflow"):
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    return False


def check_data_file(path: str | os.PathLike[str]) -> Path:
    """Raise a FileNotFoundError that says what is there instead, unless ``path`` is a file."""
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{str(path)!r} is a folder: name one data file in it")
    if not path.is_file():
        raise FileNotFoundError(f"data file {str(path)!r} is not there; the working folder is {Path.cwd()}")
    return path


def choose_track(
    name: str | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    rows: int | None = None,
    epochs: int | None = None,
) -> Track:
    """Choose the track and print one line: what, why, how long, and how to change it.

    Args:
        name: ``"quick"`` or ``"full"``. Without it the environment variable ``CLMKIT_TRACK`` decides; without that,
            ``full`` where there is a GPU and the Hub answers, else ``quick``.
        data: A local JSON, JSON Lines, CSV or Parquet file to use in place of the track's own data.
        rows: How many rows to load at most. The full track loads 5,000 by default, as the guide does.
        epochs: How often training goes through the data. The full track takes 3 by default, as the guide does, the
            quick track 2, to be done in half a minute.

    Returns:
        The track.

    Raises:
        ValueError: If the name is neither ``quick`` nor ``full``, or ``rows`` or ``epochs`` is below 1.
        FileNotFoundError: If ``data`` is not there.
        ConnectionError: If ``full`` was asked for, the Hub does not answer, and no earlier run has downloaded what it
            takes.
    """
    for label, value in (("rows", rows), ("epochs", epochs)):
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{label} must be a whole number of 1 or more, not {value!r}")
    if data is not None:
        check_data_file(data)
    name, reason = _decide(name, own_data=data is not None)
    if name == "quick":
        track = _quick(rows, epochs, data)
        text = _("the bundled ELI5 sample") if data is None else track.data
        what = _("the bundled tiny GPT-2 on {data}", data=text)
        other = "full"
    else:
        track = _full(rows, epochs, data)
        text = _("{rows:,} rows of {data}", rows=track.rows, data=track.data) if data is None else track.data
        what = _("{model} on {data}", model=track.model, data=text)
        other = "quick"
    duration = _duration(track, own_data=data is not None)
    message = _(
        "Track {name}: {what}, because {reason}. {duration} To change it: choose_track({other!r}).",
        name=name,
        what=what,
        reason=reason,
        duration=duration,
        other=other,
    )
    print(break_lines(message))
    return track


def _decide(name: str | None, own_data: bool) -> tuple[str, str]:
    """The track's name, and why it was chosen."""
    reason = _("it was asked for")
    if name is None and os.environ.get("CLMKIT_TRACK"):
        name, reason = os.environ["CLMKIT_TRACK"], _("CLMKIT_TRACK says so")
    if name not in (None, "quick", "full"):
        raise ValueError(f"unknown track {name!r}: choose 'quick' or 'full' (by CLMKIT_TRACK or choose_track)")
    if name == "quick":
        return name, reason
    if name == "full":
        try:
            check_hub()
        except ConnectionError as error:
            if _is_downloaded(own_data):
                return name, _("{reason} (from what was downloaded before: {error})", reason=reason, error=error)
            raise ConnectionError(
                f"the full track needs the Hugging Face Hub, and {error}. Connect, or take the quick track, "
                "which needs no network: choose_track('quick') or CLMKIT_TRACK=quick"
            ) from error
        return name, reason
    if not has_gpu():
        return "quick", _("this machine has no GPU")
    if problem := hub_problem():
        return "quick", problem
    return "full", _("there is a GPU and the Hub answers")


def _is_downloaded(own_data: bool) -> bool:
    """Whether an earlier run left all that the full track takes in the Hub's cache."""
    data = own_data or any(
        cached_folder(HUB_DATA, [DATA_FILES], required=[DATA_FILES], repo_type="dataset", revision=revision)
        for revision in DATA_REVISIONS
    )
    return data and cached_folder(HUB_MODEL, MODEL_FILES, required=NEEDED_FILES) is not None


def _quick(rows: int | None, epochs: int | None, data: str | os.PathLike[str] | None) -> Track:
    return Track(
        name="quick",
        data=os.fspath(data or SAMPLE),
        model=str(BUNDLED / "tiny_gpt2"),
        rows=rows,
        epochs=epochs or 2,
        learning_rate=3e-3,
        prompt="The sky is blue because",
        output_dir=f"quick/{MODEL_NAME}",
    )


def _full(rows: int | None, epochs: int | None, data: str | os.PathLike[str] | None) -> Track:
    return Track(
        name="full",
        data=os.fspath(data or HUB_DATA),
        model=HUB_MODEL,
        rows=rows or (None if data else 5000),
        epochs=epochs or 3,
        learning_rate=2e-5,
        prompt="Somatic hypermutation allows the immune system to",
        output_dir=f"full/{MODEL_NAME}",
    )


def _duration(track: Track, own_data: bool) -> str:
    if track.name == "full" and has_gpu():
        return _("Training takes minutes on a GPU.")
    speed = CPU_TOKENS_PER_SECOND[track.name]
    if own_data:
        return _("Training takes a second for about every {speed:,} tokens and epoch on two CPU cores.", speed=speed)
    if track.name == "quick":
        return _("No notebook takes more than two minutes on a laptop.")
    minutes = (track.rows or 5000) * 0.8 * ELI5_TOKENS_PER_ROW * track.epochs / speed / 60
    return _(
        "Training takes about {minutes:.0f} minutes on two CPU cores: fewer rows take less, choose_track(rows=200).",
        minutes=minutes,
    )
