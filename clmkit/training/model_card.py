"""Write the card of a tuned model: what it takes to understand the model's figures, and to train it again."""

import html
import importlib.metadata
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import DatasetDict
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from clmkit.evaluation import LossHistory, Score
from clmkit.hub.download import cached_folder
from clmkit.saving import write_whole
from clmkit.texts import SPLIT_SEED
from clmkit.tracks import ARABIC_SAMPLE, HUB_DATA, SAMPLE, TINY_MODEL, Track
from clmkit.training.tuned_models import Framework, note_tuning
from clmkit.widgets.plots import save_losses

LIBRARIES: dict[Framework, tuple[str, ...]] = {
    "pytorch": ("transformers", "torch", "datasets"),
    "tf_keras": ("transformers", "tensorflow", "tf-keras", "datasets"),
    "keras_hub": ("keras-hub", "keras", "datasets"),
}
PICTURE = "losses.png"
TEXT = """# {name}

A causal language model: it continues a text. It was tuned with {clmkit}, the package of a course on causal language
modeling. It invents: what it says is no source of facts.

| what | value |
| --- | --- |
{rows}

![{alt}]({picture})

{arabic}"""
# Of every card, whatever the learner's language: strangers read it.
ARABIC = """<div dir="rtl" lang="ar">

{text}

</div>
"""
ARABIC_TEXT = """\
نموذج لغوي سببي (causal language model) يتابع النص الذي يُعطى له. ضُبط ضبطًا دقيقًا بحزمة {clmkit}، وهي حزمة دورة في النمذجة
اللغوية السببية. نموذجه الأساسي: {base}، وبياناته: {data}، والتفاصيل في الجدول أعلاه. وهو يختلق: فلا يصلح ما يقوله مصدرًا
للحقائق."""


def write_card(
    folder: str | Path,
    track: Track,
    blocks: DatasetDict | Mapping[str, str],
    *,
    framework: Framework,
    hyperparameters: Mapping[str, Any],
    before: Score | None,
    after: Score,
    history: LossHistory,
) -> ModelCard:
    """Write a model's ``README.md``, with the loss curve as a picture, into its folder, and what it was tuned on.

    Args:
        folder: Where the model was saved; the last part of its path is the model's name.
        track: What the model was tuned from, and on.
        blocks: ``"train"`` and ``"test"`` blocks, as ``prepare_blocks`` gives them: they know where they came from. Or
            what ``describe_blocks`` says of such blocks, of those that are streamed.
        framework: Which framework trained.
        hyperparameters: What a reader needs to train it again, by name.
        before: The score on the test blocks before training, if it was measured.
        after: The score after it.
        history: The losses over the course of training.

    Returns:
        The card; ``card.data`` is its metadata in the Hub's form, ``card.text`` what people read.

    Raises:
        OSError: If the folder can't be written.
    """
    folder = Path(folder)
    facts = {
        "base model": base_model(track),
        **_stored_precision(track),
        **(describe_blocks(blocks, track) if isinstance(blocks, DatasetDict) else blocks),
        **hyperparameters,
        **({"perplexity before": _describe_score(before)} if before else {}),
        "perplexity after": _describe_score(after),
        "measured on": f"{after.tokens:,} predictions in the test blocks",
        "libraries": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES[framework]),
    }
    cells = [(name.replace("_", " "), str(value).replace("|", "\\|")) for name, value in facts.items()]
    rows = "\n".join(f"| {name} | {value} |" for name, value in cells)
    with write_whole(folder) as unfinished:
        alt = save_losses(history, unfinished / PICTURE)
        arabic = in_arabic(ARABIC_TEXT, clmkit=_clmkit(), base=_first(facts, "base model"), data=_first(facts, "data"))
        name = folder.absolute().name
        text = TEXT.format(name=name, clmkit=_clmkit(), rows=rows, alt=alt, picture=PICTURE, arabic=arabic)
        card = ModelCard(f"---\n{_metadata(folder, track, after).to_yaml()}\n---\n\n{text}")
        card.save(unfinished / "README.md")
    note_tuning(folder, track)
    return card


def in_arabic(text: str, **values: str) -> str:
    """A card's paragraph in Arabic, from right to left; the values in it run from left to right.

    Args:
        text: The paragraph, with ``{name}`` for a value.
        values: The values, in English.
    """
    spans = {name: f'<span dir="ltr">{html.escape(value, quote=False)}</span>' for name, value in values.items()}
    return ARABIC.format(text=text.format(**spans))


def _first(facts: Mapping[str, Any], name: str) -> str:
    """A fact without commits, checksums and numbers of rows, which come after a comma."""
    return str(facts[name]).split(", ")[0]


def describe_blocks(blocks: DatasetDict, track: Track) -> dict[str, str]:
    """What a card says of the data.

    Args:
        blocks: ``"train"`` and ``"test"`` blocks.
        track: What they were made from.

    Returns:
        Values by name.
    """
    held_out = "a fifth" if track.test_size is None else f"{track.test_size:.3g}"
    return {
        "data": blocks["train"].info.description,
        "split": f"{held_out} of the rows held out before packing, seed {SPLIT_SEED}",
        "block size": f"{len(blocks['train'][0]['input_ids'])} tokens",
        "blocks": f"{len(blocks['train']):,} to train on, {len(blocks['test']):,} to test on",
    }


def _describe_score(score: Score) -> str:
    bits = "" if math.isnan(score.bits_per_byte) else f", {score.bits_per_byte:.3f} bits per byte"
    return f"{score.perplexity:.2f} (mean loss {score.mean_loss:.4f} nats a token{bits})"


def _metadata(folder: Path, track: Track, after: Score) -> ModelCardData:
    """The Hub's metadata; only ids of the Hub are allowed as base model and data sets."""
    known: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if track.data in (HUB_DATA, str(SAMPLE)):  # of a learner's own data, neither is known
        known |= {"language": "en", "license": "apache-2.0"}
    if track.data == str(ARABIC_SAMPLE):
        known |= {"language": ["en", "ar"], "license": "apache-2.0"}
    if not Path(track.model).is_dir():
        known["base_model"] = track.model
    if track.data == HUB_DATA:
        result = EvalResult(
            task_type="text-generation",
            dataset_type=HUB_DATA,
            dataset_name="ELI5-Category",
            dataset_split="train",
            metric_type="perplexity",
            metric_value=round(after.perplexity, 2),
        )
        known |= {"datasets": [HUB_DATA], "model_name": folder.absolute().name, "eval_results": [result]}
    return ModelCardData(**known)


def base_model(track: Track) -> str:
    """What a model was tuned from, in words, with its commit where it came from the Hub."""
    folder = Path(track.model)
    if folder.is_dir():
        tiny = f"the tiny GPT-2 that is bundled with {_clmkit()}"
        return tiny if folder.samefile(TINY_MODEL) else f"the model in the folder {folder.resolve().name}"
    cached = cached_folder(track.model, ["config.json"], required=["config.json"])
    return f"{track.model}, commit {cached.name}" if cached else track.model


def _stored_precision(track: Track) -> dict[str, str]:
    """In which precision the base model's weights were stored, where it is not the float32 that they are trained in."""
    local = Path(track.model) if Path(track.model).is_dir() else None
    folder = local or cached_folder(track.model, ["config.json"], required=["config.json"])
    path = folder / "config.json" if folder else None
    config = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    dtype = config.get("dtype") or config.get("torch_dtype") or "float32"  # the older name
    return {} if dtype == "float32" else {"base model's weights": f"stored in {dtype}, trained and saved in float32"}


def _clmkit() -> str:
    return f"clmkit {importlib.metadata.version('clmkit')}"
