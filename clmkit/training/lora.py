"""Add a LoRA adapter to a model (PEFT), and save it under the base model's name on the Hub."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from huggingface_hub import ModelCard, ModelCardData
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from clmkit.costs import model_facts
from clmkit.hub.adapters import download_adapter
from clmkit.saving import write_whole
from clmkit.tracks import ARABIC_SAMPLE, HUB_DATA, SAMPLE, Track
from clmkit.training.model_card import base_model, in_arabic

CARD = """\
# {name}

A LoRA adapter for {base}. It was trained on {data}, as a lesson of a course on causal language modeling, and changes
how the model answers. What either of them says is no source of facts.

Loss on held-out answers, in nats a token: {before:.3f} before, {after:.3f} after.

{arabic}"""
ARABIC_TEXT = """\
مهايئ LoRA لنموذج أساسي هو {base}. دُرّب على {data} في درس من دورة في النمذجة اللغوية السببية، وهو يغيّر طريقة النموذج في
الجواب. ولا يصلح ما يقوله المهايئ ولا النموذج مصدرًا للحقائق."""


def add_adapter(model: PreTrainedModel | PeftModel, config: LoraConfig) -> PeftModel:
    """Freeze a model and add trainable matrices to it: ``peft.get_peft_model``, LoRA (arXiv 2106.09685).

    Args:
        model: Any causal language model; it is changed in place. An adapter that it has already gives way to the new
            one, as where a notebook's cell is run again with another rank.
        config: Which layers get an adapter, and of which rank.

    Returns:
        The model with its adapter, of which only the adapter is trained; the adapter is in float32.
    """
    with _old_name_of_a_property():
        return cast(PeftModel, get_peft_model(_bare(model), config))  # a mixed one has to be asked for


def load_adapter(model: PreTrainedModel | PeftModel, name: str | Path, *, trainable: bool = False) -> PeftModel:
    """Add an adapter to the model that it was trained for: ``peft.PeftModel.from_pretrained``.

    Args:
        model: The base model; it is changed in place. An adapter that it has already gives way to this one.
        name: The adapter's folder, or its repository on the Hub.
        trainable: Whether the adapter is to be trained further.

    Returns:
        The model with its adapter.

    Raises:
        FileNotFoundError: As ``download_adapter``, and so with PermissionError, ConnectionError and OSError.
    """
    folder = download_adapter(str(name))
    with _old_name_of_a_property():
        return PeftModel.from_pretrained(_bare(model), folder, is_trainable=trainable)


def _bare(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The model without an adapter; PEFT would put another into the layers of the first."""
    return cast(PreTrainedModel, model.unload()) if isinstance(model, PeftModel) else model


@contextmanager
def _old_name_of_a_property() -> Iterator[None]:
    """PEFT 0.20 asks for a property to which Transformers 5.23 has given another name, and warns about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def save_adapter(model: PeftModel, track: Track, folder: str | Path, *, before: float, after: float) -> Path:
    """Save an adapter alone, with a card that names base model, licence and data.

    PEFT writes where the base model was loaded from, which may be a cache of this machine; here it is the track's
    model, by whose name on the Hub others can load it.

    Args:
        model: A model with an adapter.
        track: What was tuned, and on what.
        folder: Where to; it is made if need be.
        before: Mean loss on held-out answers before training, in nats per token.
        after: The same after it.

    Returns:
        The folder.

    Raises:
        OSError: If the folder can't be written.
    """
    folder = Path(folder)
    data = ModelCardData(
        base_model=None if Path(track.model).is_dir() else track.model,
        library_name="peft",
        pipeline_tag="text-generation",
        license=model_facts(track.model).licence,
        datasets=[HUB_DATA] if track.data == HUB_DATA else None,
    )
    known = {HUB_DATA: "ELI5", str(SAMPLE): "ELI5", str(ARABIC_SAMPLE): "the course's Arabic sample"}
    answers = f"answers of {known[str(track.data)]}" if track.data in known else "its owner's questions and answers"
    name, base = folder.absolute().name, base_model(track)
    arabic = in_arabic(ARABIC_TEXT, base=base.split(", ")[0], data=answers)
    text = CARD.format(name=name, base=base, data=answers, before=before, after=after, arabic=arabic)
    with write_whole(folder) as unfinished:
        model.save_pretrained(str(unfinished))
        path = unfinished / "adapter_config.json"
        config = {**json.loads(path.read_text(encoding="utf-8")), "base_model_name_or_path": track.model}
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}").save(unfinished / "README.md")
    return folder
