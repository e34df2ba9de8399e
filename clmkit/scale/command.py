"""``python -m clmkit train``, ``evaluate`` and ``generate``: read the command line, and say what went wrong."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import datasets
from torch.distributed.elastic.multiprocessing.errors import record
from transformers import HfArgumentParser, TrainingArguments
from transformers.hf_argparser import string_to_bool

from clmkit.scale.adapters import read_lora
from clmkit.scale.guard import INTERRUPTED, TERMINATED
from clmkit.scale.option_files import FILES, words_of_file
from clmkit.scale.processes import one_voice
from clmkit.scale.results import evaluate, generate
from clmkit.scale.run import train
from clmkit.scale.streams import Stream
from clmkit.tracks import Track, choose_track
from clmkit.training.arguments import hint_at
from clmkit.training.pytorch import COURSE_ARGUMENTS

# Six of clmkit's options come first in --help, then four of the Trainer's, which the track decides.
FIRST = ("track", "data", "model", "block_size", "streaming", "rows")
FIRST_OF_TRAINER = {
    "output_dir": "the folder for checkpoints and the model; by default the track's",
    "num_train_epochs": "passes over the data; by default the track's. --max_steps counts in steps instead",
    "learning_rate": "its peak; by default the track's, and 2e-5 for a model of your own",
    "per_device_train_batch_size": "blocks in one step of one process; by default 8",
}
ONE_OR_MORE = ("report_to", "optim_target_modules")  # of which ``HfArgumentParser`` would take one
# Fields that are text or a switch, of which it would take the switch alone, or what no words can be.
AS_TEXT = ("include_num_input_tokens_seen", "parallelism_config")
SWITCHED = {"true": True, "false": False}
JSON = ("liger_kernel_config",)  # which ``TrainingArguments`` do not read from text, as they do others
OF_STREAM = tuple(field.name for field in dataclasses.fields(Stream))
SWITCH: dict[str, Any] = {"type": string_to_bool, "nargs": "?", "const": True, "default": False}
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError, ImportError)  # of what an option asks for


NOT_GIVEN = object()


class TrainingWords(NamedTuple):
    """What the words after ``train`` say, as far as they say it.

    Attributes:
        track: Arguments of ``choose_track``.
        stream: What a stream needs; ``None`` without ``--streaming``.
        arguments: Fields of ``TrainingArguments``.
    """

    track: dict[str, Any]
    stream: Stream | None
    arguments: dict[str, Any]


def run_command(command: str, arguments: Sequence[str]) -> int:
    """Run a command; with several processes an error's traceback goes to the launcher, which ends the others.

    Args:
        command: ``"train"``, ``"evaluate"`` or ``"generate"``.
        arguments: The words after it.

    Returns:
        The exit status: 0 if all went well, 143 if SIGTERM or Ctrl-C stopped a training whose place is saved, 130 if
        Ctrl-C came elsewhere.
    """
    commands = {"train": _train, "evaluate": _evaluate, "generate": _generate}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return record(commands[command])(arguments) or 0
    try:
        return commands[command](arguments)
    except EXPECTED as error:
        print(f"{command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def parse_training(arguments: Sequence[str]) -> TrainingWords:
    """Read the options of a run from words, of which the first may be a YAML or JSON file of options.

    Words win over the file. Both are read by transformers' ``HfArgumentParser``.

    Args:
        arguments: Words of the command line.

    Returns:
        What was given.

    Raises:
        ValueError: If the file is no mapping of options, or an option is out of its range.
        FileNotFoundError: If it is not there.
    """
    words = list(arguments)
    if words and not words[0].startswith("-"):
        words = [*words_of_file(words[0]), *words[1:]]
    parser = _training_parser()
    unset = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), NOT_GIVEN))
    values, unknown = parser.parse_known_args(words, unset)
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_what_was_meant(unknown[0], vars(values))}")
    given = {name: value for name, value in vars(values).items() if value is not NOT_GIVEN}
    given |= {name: given[name][0] for name in ONE_OR_MORE if len(given.get(name, ())) == 1}
    given |= {name: _read_json(name, given[name]) for name in JSON if name in given}
    given |= {name: SWITCHED.get(given[name].lower(), given[name]) for name in AS_TEXT if name in given}
    if "track" in given:
        given["name"] = given.pop("track")
    fields = {"language", *(field.name for field in dataclasses.fields(Track))} - FIRST_OF_TRAINER.keys()
    track = {name: given.pop(name) for name in fields & given.keys()}
    stream = {name: given.pop(name) for name in OF_STREAM if name in given}
    return TrainingWords(track, Stream(**stream) if given.pop("streaming", False) else None, given)


def _training_parser() -> HfArgumentParser:
    """A parser of clmkit's options and of all that TrainingArguments have; it shows the course's defaults."""
    hints = get_type_hints(TrainingArguments) | dict.fromkeys(ONE_OR_MORE, list[str])
    hints |= dict.fromkeys((*JSON, *AS_TEXT), str)
    fields: list[tuple[str, Any, Any]] = [
        (name, hints[name], dataclasses.field(default=None, metadata={"help": text}))
        for name, text in FIRST_OF_TRAINER.items()
    ]
    fields += [
        (field.name, hints[field.name], field)
        for field in dataclasses.fields(TrainingArguments)
        if field.init and field.name not in FIRST_OF_TRAINER
    ]
    group: Any = dataclasses.make_dataclass("Arguments", fields)
    parser = HfArgumentParser(
        group,
        parents=[_first_options()],
        prog="python -m clmkit train",
        usage="python -m clmkit train [FILE.yaml | FILE.json] [--option value ...]",
        description="Fine-tune a causal language model. Run it again with the same words to go on after a break. It "
        "runs unchanged in `accelerate launch -m clmkit train ...` and `torchrun --nproc-per-node N -m clmkit train "
        "...`. The ten options that matter come first; all others are of transformers' TrainingArguments.",
        allow_abbrev=False,
    )
    _add_options_of_data(parser)
    parser.set_defaults(**COURSE_ARGUMENTS)
    return parser


def _first_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    add = partial(_add, parser)
    add("track", "gives data, model, epochs and learning rate if they aren't", choices=["quick", "full"])
    add("data", "local files (JSON, JSON Lines, CSV, Parquet; patterns too) or an id on the Hub", nargs="+")
    add("model", "the model to start from: a folder, or an id on the Hub")
    add("block_size", "tokens in a block", type=int, default=Track.block_size)
    add("streaming", "read the data while training: memory and disk do not depend on its size", **SWITCH)
    add("rows", "take so many rows at most, from the first", type=int)
    return parser


def _add_options_of_data(parser: argparse.ArgumentParser) -> None:
    add = partial(_add, parser.add_argument_group("more about the data"))
    add("language", "of the track's own data; ar is the small Arabic sample of the quick track", choices=["en", "ar"])
    add("append_eos", "end every text with the end-of-text token, so that a model can learn to stop", **SWITCH)
    add("text_column", "the column with the text; by default answers.text or text")
    add("encoding", "of local JSON and CSV files, as Python names it; by default UTF-8, or UTF-16 where a mark says so")
    add("data_revision", "a branch, tag or commit of the data set on the Hub")
    add("data_config", "which configuration of the data set on the Hub, if it has several")
    add("test_size", "the share of rows to test on; by default 0.2, and 0.01 of a stream", type=float)
    add("test_rows", "test on so many rows of a stream at most", type=int, default=Stream.test_rows)
    add(
        "lora",
        "train a LoRA adapter in place of all weights; fields of PEFT's LoraConfig as JSON, such as '{\"r\": 16}'",
        type=read_lora,
        nargs="?",
        const={},
    )
    add("window", "shuffle so many rows of a stream at a time; memory holds them", type=int, default=Stream.window)


def _add(parser: Any, name: str, text: str, **how: Any) -> None:
    """Add an option that can be written with hyphens too, as ``HfArgumentParser`` does."""
    parser.add_argument(*dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")), help=text, **how)


def _read_json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f'--{name} must be JSON such as {{"rope": true}}, not {text!r}: {error}') from error


def _what_was_meant(word: str, known: Iterable[str]) -> str:
    if not word.startswith("--"):
        return ": a file of options is the first word of all" if word.endswith(FILES) else ""
    return hint_at(word[2:].partition("=")[0].replace("-", "_"), known)


def _train(arguments: Sequence[str]) -> int:
    words = parse_training(arguments)
    if not sys.stderr.isatty():  # a bar in a log file is a line for every step
        datasets.disable_progress_bars()
        words.arguments.setdefault("disable_tqdm", True)
    with one_voice():
        track = choose_track(**words.track)
    result = train(track, stream=words.stream, **words.arguments)
    return 0 if result.score else TERMINATED


def _evaluate(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clmkit evaluate", description="Measure a run's model on the blocks that its run.json holds out."
    )
    parser.add_argument("folder", type=Path, help="what `train` left")
    parser.add_argument("--batch_size", type=int, default=8, help="blocks in one forward pass")
    given = parser.parse_args(arguments)
    evaluate(given.folder, given.batch_size)
    return 0


def _generate(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clmkit generate", description="Continue prompts with a run's model."
    )
    parser.add_argument("folder", type=Path, help="what `train` left, or any model of Transformers")
    parser.add_argument("--prompt", nargs="+", required=True, help="one text to continue, or several")
    parser.add_argument("--max_new_tokens", type=int, default=100, help="tokens to add at most")
    parser.add_argument("--greedy", action="store_true", help="always take the most probable token")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 the likely becomes likelier")
    parser.add_argument("--top_k", type=int, default=50, help="draw from so many tokens; 0 from all")
    parser.add_argument("--top_p", type=float, default=0.95, help="draw from the tokens that make up this probability")
    parser.add_argument("--seed", type=int, default=42, help="of the draw")
    given = vars(parser.parse_args(arguments))
    sample = not given.pop("greedy")
    for text in generate(given.pop("folder"), given.pop("prompt"), do_sample=sample, **given):
        print(text)
    return 0
