"""The files of weights in a model's folder: which there are, and how many numbers they hold."""

import importlib.util
import json
import math
import zipfile
from functools import cache
from pathlib import Path

from safetensors import SafetensorError, safe_open

from clmkit.messages import _

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")  # large ones are in parts
NEEDED_WEIGHTS = "model.safetensors|model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")  # of PyTorch alone

OF_LFS = b"version https://git-lfs"
POINTER = "is a pointer of git LFS, and not the file itself: run git lfs pull in that folder, or download it by its id"


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that Transformers would read from a folder: the one, or all that its index names.

    An index may name files that are not there. PyTorch's pickles count where there is PyTorch.

    Raises:
        ValueError: If an index names no files.
    """
    for name in ("model.safetensors", *(["pytorch_model.bin"] if importlib.util.find_spec("torch") else [])):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            return [folder / part for part in _parts(index)]
    return []


def _parts(index: Path) -> list[str]:
    """The files that an index names, each once."""
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = POINTER if is_pointer(index) else "names no files of weights: download or copy it once more"
        raise ValueError(f"{index.as_posix()} {problem}") from error


def count_parameters(folder: Path) -> int | None:
    """How many numbers the safetensors of a folder hold, by their headers; ``None`` where its weights are others."""
    files = weight_files(folder)
    if not files or any(path.suffix != ".safetensors" or not path.is_file() for path in files):
        return None
    total = 0
    for path in files:
        with safe_open(path, "numpy") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


@cache
def say_pickle(name: str) -> None:
    """Print, once, that a model's weights are a pickle."""
    print(
        _(
            "The weights of {name} are a pickle, which can hold programs too. Transformers reads nothing but numbers "
            "from it; still, take such files only from people you trust.",
            name=name,
        )
    )


def is_pointer(path: Path) -> bool:
    """Whether a file is what git leaves in place of a large one where git LFS is missing."""
    with path.open("rb") as file:
        return file.read(len(OF_LFS)) == OF_LFS


def what_is_broken(weights: Path) -> str:
    """What is wrong with the frame of a file of weights, if anything is; nothing is read of the weights themselves."""
    if is_pointer(weights):
        return f"{weights.name} {POINTER}"
    if weights.suffix == ".safetensors":
        try:
            with safe_open(weights, "numpy"):
                return ""  # its header was read, and agrees with its size
        except SafetensorError as error:
            return str(error)
    with weights.open("rb") as file:  # PyTorch's is a ZIP file, whose table comes last, or an older plain pickle
        packed = file.read(2) == b"PK"
    return "" if weights.stat().st_size and (not packed or zipfile.is_zipfile(weights)) else "its end is missing"


def is_model(folder: Path) -> bool:
    """Whether ``from_pretrained`` of Transformers would find a model in the folder, and its weights whole."""
    if not (folder / "config.json").is_file():
        return False
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        files = weight_files(folder)
        problem = next(filter(None, map(what_is_broken, files)), "")
    except (FileNotFoundError, ValueError) as error:  # ValueError: it is no JSON, or no text
        problem = str(error)
    if problem:
        print(_("The model in {folder} was not written whole: {error}", folder=folder.as_posix(), error=problem))
        return False
    return bool(files)
