"""Choose what a notebook runs on: the bundled sample and tiny model, or the guide's own data and model."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clmkit import costs
from clmkit.costs import describe_minutes, describe_model, learning_rate, model_facts, tokens_per_second
from clmkit.hub.download import MODEL_FILES, NEEDED_FILES, cached_folder
from clmkit.hub.login import check_hub, hub_problem
from clmkit.hub.models import check_name
from clmkit.hub.real_model import REAL_MODEL
from clmkit.kernels import has_gpu
from clmkit.messages import _, break_lines, join_sentences, ngettext
from clmkit.paths import expand_home, find_files, say_folder, words_of

BUNDLED = Path(__file__).parent / "bundled"
SAMPLE = BUNDLED / "eli5_sample.jsonl"
ARABIC_SAMPLE = BUNDLED / "eli5_sample_ar.jsonl"
TINY_MODEL = BUNDLED / "tiny_gpt2"
HUB_DATA = "dany0407/eli5_category"
HUB_MODEL = "distilbert/distilgpt2"
CHAT_MODELS = {"quick": REAL_MODEL, "full": "HuggingFaceTB/SmolLM2-360M-Instruct"}  # by the track's name
DATA_REVISIONS = ("main", "refs/convert/parquet")
DATA_FILES = "*train*.parquet"
MODEL_NAME = "my_awesome_eli5_clm-model"  # the guide's name for what it trains
Data = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class Track:
    """What one job works on: the one description that notebooks, ``train``, the model card and ``run.json`` read.

    Attributes:
        name: ``"quick"`` or ``"full"``; ``"own"`` where data and model are the learner's.
        data: A Hub dataset id, the path of a local file or a pattern of such, or several paths and patterns.
        model: A Hub model id, or the path of a model folder: the model to start from.
        rows: How many rows to load at most, from the first; ``None`` loads all.
        epochs: How often training goes through the data.
        learning_rate: Peak learning rate: the guide's 2e-5 for DistilGPT2; the tiny model, for seconds, takes more.
        prompt: A text to continue: the guide's own on the full track, one that the sample can answer on the quick one.
        output_dir: Where the tuned model is saved, in the working folder; its last part is its name on the Hub.
        text_column: The column with the text; ``None`` takes ``answers.text`` or ``text``.
        encoding: Of local JSON and CSV files, as Python names it; ``None`` takes UTF-8, or UTF-16 where a mark says so.
        data_revision: A branch, tag or commit of the data set on the Hub; ``None`` takes the newest.
        data_config: Which configuration of the data set on the Hub, if it has several.
        block_size: Tokens in a block.
        append_eos: Whether every text ends with the end-of-text token.
        test_size: The share of rows to test on; ``None`` takes a fifth, and a hundredth of a stream.
    """

    name: str
    data: str | tuple[str, ...]
    model: str
    rows: int | None
    epochs: int
    learning_rate: float
    prompt: str
    output_dir: str
    text_column: str | None = None
    encoding: str | None = None
    data_revision: str | None = None
    data_config: str | None = None
    block_size: int = 128
    append_eos: bool = False
    test_size: float | None = None


QUICK = Track(
    name="quick",
    data=str(SAMPLE),
    model=str(TINY_MODEL),
    rows=None,
    epochs=2,
    learning_rate=5e-4,
    prompt="The sky is blue because",
    output_dir=f"quick/{MODEL_NAME}",
)
ARABIC = replace(QUICK, data=str(ARABIC_SAMPLE), prompt="السماء زرقاء لأن")
FULL = Track(
    name="full",
    data=HUB_DATA,
    model=HUB_MODEL,
    rows=5000,
    epochs=3,
    learning_rate=2e-5,
    prompt="Somatic hypermutation allows the immune system to",
    output_dir=f"full/{MODEL_NAME}",
)
KNOWN_DATA = {
    QUICK.data: (484, 221),
    FULL.data: (91_772, costs.ELI5_TOKENS_PER_ROW),
}  # rows that there are, and GPT-2's tokens in each
OWN = replace(FULL, name="own", prompt="", output_dir=f"own/{MODEL_NAME}")


def check_whole_number(name: str, value: object) -> None:
    """Raise a ValueError that names the argument unless its value is a whole number of 1 or more."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")


def choose_track(
    name: str | None = None,
    *,
    data: Data | None = None,
    model: str | os.PathLike[str] | None = None,
    chat: bool = False,
    language: str | None = None,
    rows: int | None = None,
    epochs: int | None = None,
    text_column: str | None = None,
    encoding: str | None = None,
    data_revision: str | None = None,
    data_config: str | None = None,
    block_size: int = 128,
    append_eos: bool = False,
    test_size: float | None = None,
) -> Track:
    """Choose the track and print one line: what, why, how long, and how to change it.

    Args:
        name: ``"quick"`` or ``"full"``. Without it ``CLMKIT_TRACK`` in the environment decides; without that, ``full``
            where there is a GPU and the Hub answers, else ``quick``. Data and model together leave nothing to decide.
        data: What to use in place of the track's own data: a local JSON, JSON Lines, CSV or Parquet file, a pattern of
            such files, several of both, or a data set's id on the Hub.
        model: What to start from in place of the track's own model: a folder, or the id on the Hub, of any causal
            language model. It takes the guide's 3 epochs, and the ``learning_rate`` for its size.
        chat: Whether to start from a small model that was trained to answer, in place of the track's own model.
        language: That of the track's own data: ``"en"``, or ``"ar"`` for the small Arabic sample of the quick track.
        rows: How many rows to load at most. The full track loads 5,000 by default, as the guide does.
        epochs: How often training goes through the data; by default 3, as in the guide, and 2 on the quick track.
        text_column: The column with the text; by default ``answers.text`` or ``text``.
        encoding: Of local JSON and CSV files, as Python names it; by default UTF-8, or UTF-16 where a mark says so.
        data_revision: A branch, tag or commit of the data set on the Hub.
        data_config: Which configuration of the data set on the Hub, if it has several.
        block_size: Tokens in a block.
        append_eos: Whether to end every text with the end-of-text token, so that a model can learn to stop.
        test_size: The share of rows to test on; by default a fifth, and a hundredth of a stream.

    Returns:
        The track.

    Raises:
        ValueError: If the name is neither ``quick`` nor ``full``, a number of rows, epochs or tokens is no whole number
            of 1 or more, ``data`` names nothing, ``encoding`` is given for data that are no local files, or the course
            has no data in the ``language`` for this track.
        FileNotFoundError: If ``data`` is not there, or ``model`` is neither a folder nor can be an id on the Hub.
        ConnectionError: If ``full`` was asked for, the Hub is silent, and no earlier run has downloaded what it takes.
    """
    _check_numbers(rows=rows, epochs=epochs, block_size=block_size)
    costs.model_facts.cache_clear()  # the Hub may have been silent the last time
    own_data = _own_data(data, encoding)
    model = None if model is None else check_name(expand_home(model))
    base, reason = _decide(name, own_data is not None, model, chat, language)
    model = CHAT_MODELS[base.name] if chat else model
    track = replace(
        base,
        data=base.data if own_data is None else own_data,
        model=base.model if model is None else model,
        rows=rows or (base.rows if own_data is None else None),
        epochs=epochs or (base if model is None else FULL).epochs,
        learning_rate=base.learning_rate if model is None else learning_rate(model),
        text_column=text_column,
        encoding=encoding,
        data_revision=data_revision,
        data_config=data_config,
        block_size=block_size,
        append_eos=append_eos,
        test_size=test_size,
    )
    print(break_lines(join_sentences(_name_work(track), *say_folder(track.model), *_explain(track, chat, reason))))
    return track


def _check_numbers(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None:
            check_whole_number(name, value)


def _own_data(data: Data | None, encoding: str | None) -> str | tuple[str, ...] | None:
    """``data`` as a track has it; all files that it names are there."""
    own, files = None, []
    if data is not None:
        words = words_of(data)
        own = words[0] if len(words) == 1 else words
        files = find_files(own)
    if encoding is not None and not files:
        raise ValueError(f"encoding={encoding!r} is for local JSON and CSV files, and data names none")
    return own


def _decide(
    name: str | None, own_data: bool, model: str | None, chat: bool, language: str | None
) -> tuple[Track, list[str]]:
    """The track to begin with, and the sentences that say why it was chosen."""
    if chat and model:
        raise ValueError("chat=True takes the track's own chat model, and model names another: give one of the two")
    if own_data and language:
        raise ValueError(f"language={language!r} is for the course's own data, and data names others: leave it out")
    if own_data and model and name in (None, "quick", "full"):
        return OWN, []
    asked = _("CLMKIT_TRACK says so.") if name is None else _("It was asked for.")
    name = (os.environ.get("CLMKIT_TRACK") or None) if name is None else name
    if name not in (None, "quick", "full"):
        raise ValueError(f"unknown track {name!r}: choose 'quick' or 'full' (by CLMKIT_TRACK or choose_track)")
    if language == "ar" and name == "full":
        raise ValueError(
            "the full track has no Arabic data: take the bundled sample by choose_track('quick', language='ar'), or "
            "Arabic texts of your own by choose_track('full', data=...)"
        )
    if language == "ar":
        return ARABIC, [asked if name else _("The Arabic sample belongs to the quick track.")]
    if language not in (None, "en"):
        raise ValueError(f"unknown language {language!r}: choose 'en' or 'ar', or data of your own by data=")
    if name == "quick":
        return QUICK, [asked]
    if name:
        try:
            check_hub()
        except ConnectionError as error:
            if _is_downloaded(own_data, CHAT_MODELS["full"] if chat else model):
                return FULL, [asked, _("What was downloaded before has to do: {error}.", error=error)]
            raise ConnectionError(
                f"the full track needs the Hugging Face Hub, and {error}. Connect, or take the quick track, "
                "which needs no network: choose_track('quick') or CLMKIT_TRACK=quick"
            ) from error
        return FULL, [asked]
    if not has_gpu():
        return QUICK, [_("This machine has no GPU.")]
    if problem := hub_problem():
        return QUICK, [_("The full track needs the Hub: {problem}.", problem=problem)]
    return FULL, [_("There is a GPU and the Hub answers.")]


def _is_downloaded(own_data: bool, model: str | None) -> bool:
    """Whether an earlier run left all that the full track takes in the Hub's cache, or it is on this machine."""
    data = own_data or any(
        cached_folder(HUB_DATA, [DATA_FILES], required=[DATA_FILES], repo_type="dataset", revision=revision)
        for revision in DATA_REVISIONS
    )
    if not data or (model and Path(model).is_dir()):
        return data
    return cached_folder(model or HUB_MODEL, MODEL_FILES, required=NEEDED_FILES) is not None


def _name_work(track: Track) -> str:
    """The sentence that names model and data."""
    if (track.model, track.data) == (QUICK.model, QUICK.data):
        return _("Track quick: the bundled tiny GPT-2 on the bundled ELI5 sample.")
    if (track.model, track.data) == (ARABIC.model, ARABIC.data):
        return _("Track quick: the bundled tiny GPT-2 on the bundled Arabic sample.")
    data = track.data if isinstance(track.data, str) else ", ".join(track.data)
    values = {"name": track.name, "model": _short_name(track.model), "data": _short_name(data)}
    if track.rows is None:
        return _("Track {name}: {model} on {data}.", **values)
    return ngettext(
        "Track {name}: {model} on {count:,} row of {data}.",
        "Track {name}: {model} on {count:,} rows of {data}.",
        track.rows,
        **values,
    )


def _short_name(path: str) -> str:
    """The name of what is bundled, whose path says nothing to a learner; any other path or id as it is."""
    return Path(path).name if path in (QUICK.model, QUICK.data, ARABIC.data) else path


def _explain(track: Track, chat: bool, reason: list[str]) -> list[str]:
    """Why the track was chosen, what its model costs, how long it takes, and how to change it."""
    facts = "" if track.model == QUICK.model else describe_model(track.model)
    if track.name == "own":  # of its data nothing is known
        return [facts] if facts else []
    duration = "" if chat else _duration(track)  # to be asked, it may be tuned by an adapter, or not at all
    other = repr("full" if track.name == "quick" else "quick") + ", chat=True" * chat
    return [*reason, *filter(None, (facts, duration)), _("To change it: choose_track({other}).", other=other)]


def _duration(track: Track) -> str:
    """How long training takes, as far as it can be told before the data are read."""
    if track.data in (QUICK.data, ARABIC.data) and track.model == QUICK.model:
        return _("No notebook takes more than four minutes on a laptop.")
    parameters = model_facts(track.model).parameters
    if parameters is None:
        return ""
    if has_gpu():
        return _("Training takes minutes on a GPU.") if parameters < 5e8 else ""
    if known := KNOWN_DATA.get(track.data):
        return describe_minutes(
            parameters, min(track.rows or known[0], known[0]), known[1], track.epochs, track.block_size
        )
    speed = tokens_per_second(parameters)
    return _("Training takes a second for about every {speed:,} tokens and epoch on two CPU cores.", speed=speed)
