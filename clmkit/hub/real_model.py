"""Where the real model of ``make real-model`` lies, for machines that the Hub does not answer."""

import os
from pathlib import Path

from huggingface_hub import constants

REAL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FILES = ("config.json", "tokenizer.json", "model.safetensors")  # each is put in place whole


def real_model_folder() -> Path:
    """The folder that ``make real-model`` fills: ``CLMKIT_REAL_MODEL``, or one in Hugging Face's cache."""
    chosen = os.environ.get("CLMKIT_REAL_MODEL")
    return Path(chosen).expanduser() if chosen else Path(constants.HF_HOME, "clmkit", REAL_MODEL.rpartition("/")[2])


def stands_in_for(name: str) -> Path | None:
    """The folder of the real model, if that is the model of this name on the Hub, and was put there whole."""
    folder = real_model_folder()
    return folder if name == REAL_MODEL and all((folder / file).is_file() for file in FILES) else None
