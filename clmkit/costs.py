"""What a model costs before its weights are loaded: parameters, licence, memory, speed, and the rate it learns at."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, ModelCard
from safetensors import SafetensorError
from yaml import YAMLError

from clmkit.hub.client import HUB_ERRORS, few_retries
from clmkit.hub.download import MODEL_FILES, NEEDED_FILES, cached_folder
from clmkit.hub.models import HUB_ID, check_config, check_hub_config
from clmkit.hub.real_model import stands_in_for
from clmkit.hub.weights import count_parameters
from clmkit.messages import _, join_sentences, ngettext

# Measured in float32 on two CPU cores, with the tiny GPT-2 and with a random model of DistilGPT2's shape. A CPU with
# bfloat16 is faster (benchmarks/README.md).
CPU_TOKENS_PER_SECOND = {"quick": 7000, "full": 360}
DISTILGPT2_PARAMETERS = 82e6
ELI5_TOKENS_PER_ROW = 334  # of GPT-2's, in real rows; four in five are trained on
TRAINING_BYTES = 16  # of each parameter in float32: itself, its gradient, and AdamW's two averages
SMALL = 20e6  # parameters


class ModelFacts(NamedTuple):
    """What can be known of a model without its weights; ``None`` is what is not known."""

    parameters: int | None
    licence: str | None


# The guide's model needs no question to the Hub: its parameters without the causal masks stored beside them, its card.
KNOWN = {"distilbert/distilgpt2": ModelFacts(81_912_576, "apache-2.0")}


@cache
def model_facts(name: str) -> ModelFacts:
    """Read a model's folder, or what was downloaded of it, or else ask the Hub, which may not answer.

    Args:
        name: A folder, or an id on the Hub.

    Raises:
        ValueError: If it is no causal language model; there is nothing to choose it for.
    """
    if name in KNOWN:
        return KNOWN[name]
    if not Path(name).is_dir() and not HUB_ID.fullmatch(name):  # what loads it says so
        return ModelFacts(None, None)
    local = Path(name) if Path(name).is_dir() else cached_folder(name, MODEL_FILES, required=NEEDED_FILES)
    if folder := local or stands_in_for(name):
        if (folder / "config.json").is_file():
            check_config(folder, name)
        return ModelFacts(_parameters_of(folder), _licence_of(folder / "README.md"))
    try:
        with few_retries():
            info = HfApi().model_info(name, timeout=5)
    except HUB_ERRORS:
        return ModelFacts(None, None)
    check_hub_config(name, info.config or {})
    licence = info.card_data.license if info.card_data else None
    return ModelFacts(info.safetensors.total if info.safetensors else None, str(licence) if licence else None)


def _parameters_of(folder: Path) -> int | None:
    """``None`` where the files are not what their names say: what loads them says so."""
    try:
        return count_parameters(folder) or None
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def _licence_of(card: Path) -> str | None:
    """What a card's metadata say, if there are any that can be read: people write them."""
    try:
        licence = ModelCard.load(card, ignore_metadata_errors=True).data.license if card.is_file() else None
    except (OSError, ValueError, YAMLError):
        return None
    return ", ".join(map(str, licence)) if isinstance(licence, list) else licence


def describe_model(name: str) -> str:
    """A sentence with what is known of a model; an empty one if nothing is."""
    parameters, licence = model_facts(name)
    if parameters is None:
        return _("Its licence: {licence}.", licence=licence) if licence else ""
    return _(
        "It has {parameters:,.0f} million parameters, licence {licence}; to train all of them in float32 takes "
        "{memory:.1f} GB of memory, and what the blocks take.",
        parameters=parameters / 1e6,
        licence=licence or _("unknown"),
        memory=TRAINING_BYTES * parameters / 1e9,
    )


def tokens_per_second(parameters: float) -> int:
    """About how many tokens a second two CPU cores train a model on, in float32: the larger it is, the fewer."""
    return min(int(CPU_TOKENS_PER_SECOND["full"] * DISTILGPT2_PARAMETERS / parameters), CPU_TOKENS_PER_SECOND["quick"])


def describe_minutes(parameters: float, rows: int, tokens_per_row: int, epochs: int, block_size: int) -> str:
    """How long two CPU cores train a model on so many rows, and if it is longer, on how many they do in ten minutes."""
    seconds_per_row = 0.8 * tokens_per_row * epochs / tokens_per_second(parameters)
    minutes = max(round(rows * seconds_per_row / 60), 1)
    said = ngettext(
        "Training takes about {count:,} minute on two CPU cores.",
        "Training takes about {count:,} minutes on two CPU cores.",
        minutes,
    )
    if minutes <= 10:
        return said
    ten_minutes = max(int(600 / seconds_per_row), 1)
    enough = ngettext(
        "Ten minutes are enough for {count:,} row, about {blocks:,.0f} blocks: choose_track(rows={count}).",
        "Ten minutes are enough for {count:,} rows, about {blocks:,.0f} blocks: choose_track(rows={count}).",
        ten_minutes,
        blocks=0.8 * ten_minutes * tokens_per_row / block_size,
    )
    return join_sentences(said, enough)


def learning_rate(name: str, *, adapter: bool = False) -> float:
    """The peak learning rate to tune a model with, by its size and by what of it is trained.

    All weights: the guide's 2e-5, which it takes for 82 million parameters and Llama 2 (arXiv 2307.09288, section 3.1)
    for 7 to 70 billion; below 20 million 5e-4, as measured with the bundled model. A LoRA adapter: 2e-4, which QLoRA
    (arXiv 2305.14314, appendix B.2) takes for 7 and 13 billion parameters; below 1 billion 5e-4, as measured with
    SmolLM2-135M (benchmarks/README.md).

    Args:
        name: The model; one whose size is not known counts as one of those above 20 million.
        adapter: Whether a LoRA adapter is trained, and not the weights themselves.
    """
    parameters = model_facts(name).parameters or DISTILGPT2_PARAMETERS
    if adapter:
        return 5e-4 if parameters < 1e9 else 2e-4
    return 5e-4 if parameters < SMALL else 2e-5
