"""Whether a folder or a repository holds a causal language model, told from its files before anything is computed."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clmkit.hub.weights import POINTER, is_pointer, weight_files, what_is_broken

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ADAPTER = "adapter_config.json"
CHOOSE = "Choose a causal language model, such as GPT-2 or Llama"
NOT_SHIFTED = ("xlm", "xlnet")  # they see what follows, and their loss is that of the token at its own place
HUB_ID = re.compile(r"(?!.*(--|\.\.))[\w-][\w.-]*(/[\w-][\w.-]*)?")
JSON_FILES = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "added_tokens.json")


def check_name(name: str) -> str:
    """Raise a FileNotFoundError if a model's name is that of no folder here, and can't be one of the Hub."""
    if Path(name).is_dir():
        return name
    if Path(name).is_file():
        raise FileNotFoundError(f"model {name!r} is a file: name the folder that it is in, with config.json beside it")
    if not HUB_ID.fullmatch(name):
        raise FileNotFoundError(
            f"model folder {name!r} is not there; the working folder is {Path.cwd()}. It is no id on the Hub either, "
            "which looks like 'distilbert/distilgpt2'"
        )
    return name


def check_causal(config: "PreTrainedConfig") -> None:
    """Raise a ValueError unless a model of such a configuration predicts each token from those before it alone.

    Transformers would load BERT as a "causal" model too, in which each token sees those after it.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    _check_type(config.model_type, getattr(config, "is_encoder_decoder", False))
    both = config.model_type in ENCODERS or config.model_type == "bert-generation"
    if config.model_type in NOT_SHIFTED or (both and getattr(config, "is_decoder", None) is False):
        raise _encoder(config.model_type)


def _check_type(kind: str, two_parts: bool = False) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

    if kind not in CAUSAL or two_parts:
        what = "continues no text of its own: it is an encoder with a decoder, or no language model"
        raise ValueError(f"a model of the type {kind!r} {what}. {CHOOSE}")


def _encoder(kind: str) -> ValueError:
    return ValueError(f"a model of the type {kind!r} is an encoder: in it each token sees those that follow. {CHOOSE}")


def check_whole(folder: Path, name: str, missing: Sequence[str]) -> None:
    """Raise an error that says what a folder holds, if it lacks files of a model.

    Args:
        folder: Where it lies.
        name: What the model is called in the error.
        missing: What it lacks, apart from weights.

    Raises:
        ValueError: If it is an adapter of PEFT.
        FileNotFoundError: If it lacks a file.
    """
    if (folder / ADAPTER).is_file() and not weight_files(folder):
        raise _adapter(name, _read_json(folder / ADAPTER, name).get("base_model_name_or_path"))
    if not missing:
        return
    inside = [path for path in folder.glob("checkpoint-*") if (path / "config.json").is_file()]
    newest = max(inside, key=lambda path: (len(path.name), path.name), default=None)
    remedy = f". Its checkpoints are models: {newest.as_posix()!r} is the newest" if newest else ""
    if (folder / "snapshots").is_dir():
        remedy = ". It is the Hub's cache of a model: give the model's id, or a folder in its snapshots"
    if any(folder.glob("*.gguf")):
        remedy = ". GGUF files are for llama.cpp: take the model that they were made of"
    raise FileNotFoundError(f"{name!r} is no whole model: there is no {' and no '.join(missing)} in it{remedy}")


def _adapter(name: str, base: str | None) -> ValueError:
    return ValueError(
        f"{name!r} is an adapter of PEFT for {base or 'another model'}, and no model: start from that one, or add the "
        "adapter to it first (PeftModel.from_pretrained, merge_and_unload) and save what comes out"
    )


def check_hub_config(name: str, config: Mapping[str, Any]) -> None:
    """Raise a ValueError if what the Hub tells of a repository's configuration is of no causal language model.

    Args:
        name: The repository.
        config: ``model_info(name).config``, which has the type and the class, and not all else.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    if "peft" in config:
        raise _adapter(name, config["peft"].get("base_model_name_or_path"))
    if (kind := config.get("model_type")) is None:
        return
    _check_known(name, kind)
    _check_type(kind)
    classes = config.get("architectures") or []
    if kind in ENCODERS and classes and all(one.endswith("ForMaskedLM") for one in classes):
        raise _encoder(kind)


def check_config(folder: Path, name: str) -> None:
    """Raise a ValueError unless a folder's ``config.json`` can be read, and is of a causal language model.

    Args:
        folder: Where it lies.
        name: What the model is called in the error.
    """
    config = _read_json(folder / "config.json", name)
    if not isinstance(config, dict) or not isinstance(kind := config.get("model_type"), str):
        raise ValueError(f"{name!r} is no model of Transformers: its config.json names no model_type")
    _check_known(name, kind)
    from transformers import AutoConfig

    check_causal(AutoConfig.from_pretrained(folder))


def _check_known(name: str, kind: str) -> None:
    from transformers import CONFIG_MAPPING, __version__

    if kind not in CONFIG_MAPPING:
        raise ValueError(
            f"{name!r} is a model of the type {kind!r}, which Transformers {__version__} does not know: "
            f"a newer version may, or it takes code of its own, which is not run here. {CHOOSE}"
        )


def check_files(folder: Path, weights: Sequence[Path], name: str) -> None:
    """Raise a ValueError if a file of a model's folder was not written whole, or its generation config contradicts.

    Args:
        folder: Where the model lies.
        weights: Its files of weights, which are all there.
        name: What the model is called in the error.
    """
    for path in (folder / name for name in JSON_FILES):
        if path.is_file():
            _read_json(path, name)
    for path in weights:
        if is_pointer(path):
            raise ValueError(f"{path.name} of {name!r} {POINTER}")
        if reason := what_is_broken(path):
            raise ValueError(f"{path.name} of {name!r} is not whole ({reason}): download or copy it once more")
    if (folder / "generation_config.json").is_file():
        from transformers import GenerationConfig

        try:
            GenerationConfig.from_pretrained(folder)
        except ValueError as error:
            raise ValueError(f"generation_config.json of {name!r} contradicts itself: {error}") from error


def _read_json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        reason = POINTER if is_pointer(path) else f"is no JSON ({error}): download or copy it once more"
        raise ValueError(f"{path.name} of {name!r} {reason}") from error
