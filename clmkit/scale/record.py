"""The JSON of a run: what was trained, on what, by what, and what came out; and whether two runs are the same one."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from clmkit.evaluation import Score
from clmkit.messages import _
from clmkit.saving import write_whole
from clmkit.scale.checkpoints import sync_files
from clmkit.scale.data import Prepared
from clmkit.scale.streams import Stream
from clmkit.texts import SPLIT_SEED
from clmkit.tracks import Track
from clmkit.training.model_card import base_model
from clmkit.training.output_folder import RECORD, is_record
from clmkit.training.tuned_models import DECISIVE

LIBRARIES = ("clmkit", "accelerate", "datasets", "tokenizers", "torch", "transformers")


def describe_run(
    track: Track,
    stream: Stream | None,
    prepared: Prepared,
    args: TrainingArguments,
    lora: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is known of a run before it begins, as ``run.json`` has it.

    Args:
        track: What is trained, and on what.
        stream: What only a stream needs.
        prepared: The blocks.
        args: The arguments of training.
        lora: What was said of a LoRA adapter, if one is trained.

    Returns:
        Values that can be written as JSON. ``decisive`` holds those on which the weights depend.
    """
    values = {name: _plain(value) for name, value in args.to_dict().items()}  # tokens of the Hub are masked in it
    decisive = {
        "model": base_model(track),
        "data_fingerprint": prepared.fingerprint,
        "block_size": track.block_size,
        "blocks_per_step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        **{name: values.get(name) for name in DECISIVE},
    }
    if lora is not None:
        decisive["lora"] = dict(lora)
    if stream:
        decisive |= {**asdict(stream), "held_out": prepared.held_out}
        decisive |= {"text_column": track.text_column, "append_eos": track.append_eos}
    return {
        "status": "training",
        "decisive": decisive,
        "track": asdict(track),
        "stream": asdict(stream) if stream else None,
        "data": {"source": prepared.facts["data"], "fingerprint": prepared.fingerprint, **prepared.facts},
        "seeds": {
            "split": None if stream else SPLIT_SEED,
            "training": args.seed,
            "order": args.seed if args.data_seed is None else args.data_seed,
        },
        "arguments": {name: value for name, value in values.items() if name != "output_dir"},
        "processes": args.world_size,
        "device": device_name(args.device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{n: importlib.metadata.version(n) for n in LIBRARIES}},
    }


def describe_score(score: Score) -> dict[str, float | None]:
    """A score as ``run.json`` has it."""
    return {
        "perplexity": score.perplexity,
        "bits_per_byte": score.bits_per_byte if score.bytes else None,
        **score._asdict(),
    }


def read_score(values: Mapping[str, Any]) -> Score:
    """The score that ``describe_score`` described."""
    return Score(values["summed_loss"], int(values["tokens"]), values.get("bytes"))


def read_track(record: Mapping[str, Any]) -> Track:
    """The track that a run worked on."""
    data = record["track"]["data"]
    return Track(**{**record["track"], "data": tuple(data) if isinstance(data, list) else data})


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """The JSON of the run that a folder holds; ``None`` if it holds none, or a broken one, which is said.

    Raises:
        ValueError: If it is of an earlier version of clmkit.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # a loss of power can leave it empty
        print(_("Passing over {path}, which is broken: {error}", path=path.as_posix(), error=str(error)))
        return None
    if not is_record(path):
        print(_("Passing over {path}, which is of another program", path=path.as_posix()))
        return None
    if "track" not in record:
        raise ValueError(f"{path} is of an earlier version of clmkit: choose another --output_dir, and train again")
    return record


def write_record(folder: str | Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json``, whole.

    Raises:
        OSError: If the folder can't be written.
    """
    with write_whole(folder) as unfinished:
        (unfinished / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        sync_files(unfinished)


def check_same_run(folder: str | Path, earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise a ValueError unless the run in a folder is the one that is to go on there."""
    before, after = earlier["decisive"], json.loads(json.dumps(now["decisive"]))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if names:
        differences = ", ".join(f"{name} was {before.get(name)!r} and is {after.get(name)!r}" for name in names)
        raise ValueError(
            f"{Path(folder).as_posix()} holds another run: {differences}. Choose another --output_dir, or "
            "remove that folder"
        )


def _plain(value: Any) -> Any:
    """A value that JSON has, or its text."""
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def device_name(device: torch.device) -> str:
    """What computes: the GPU's name, or ``cpu``."""
    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else device.type
