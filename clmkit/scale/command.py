"""``python -m clmkit train``, ``evaluate`` and ``generate``: read the command line, and say what went wrong."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import datasets
import yaml
from torch.distributed.elastic.multiprocessing.errors import record
from transformers import HfArgumentParser, TrainingArguments

from clmkit.scale.guard import TERMINATED
from clmkit.scale.options import RunOptions
from clmkit.training.pytorch import COURSE_ARGUMENTS

# The options that matter most come first in --help; each is a field of RunOptions or of TrainingArguments.
FIRST = ("track", "data", "model", "block_size", "streaming", "rows")
FIRST_OF_TRAINER = ("output_dir", "num_train_epochs", "learning_rate", "per_device_train_batch_size")
HELP = {
    "data": "local files (JSON, JSON Lines, CSV, Parquet; patterns too) or an id on the Hub",
    "track": "gives data, model, epochs and learning rate if they aren't",
    "model": "the model to start from: a folder, or an id on the Hub",
    "block_size": "tokens in a block",
    "rows": "take so many rows at most, from the first",
    "streaming": "read the data while training: memory and disk do not depend on its size",
    "append_eos": "end every text with the end-of-text token, so that a model can learn to stop",
    "text_column": "the column with the text; by default answers.text or text",
    "data_revision": "a branch, tag or commit of the data set on the Hub",
    "test_size": "the share of rows to test on; by default 0.2, and 0.01 of a stream",
    "test_rows": "test on so many rows of a stream at most",
    "window": "shuffle so many rows of a stream at a time; memory holds them",
    "output_dir": "the folder for checkpoints and the model; by default the track's",
    "num_train_epochs": "passes over the data; by default the track's. --max_steps counts in steps instead",
    "learning_rate": "its peak; by default the track's, and 2e-5 for a model of your own",
    "per_device_train_batch_size": "blocks in one step of one process",
}
BY_TRACK = ("output_dir", "num_train_epochs", "learning_rate")
EXPECTED = (ValueError, OSError, FloatingPointError, MemoryError)


class _NotGiven:
    """Stands for an option that was not given."""


NOT_GIVEN = _NotGiven()


def run_command(command: str, arguments: Sequence[str]) -> int:
    """Run a command; with several processes an error's traceback goes to the launcher, which ends the others.

    Args:
        command: ``"train"``, ``"evaluate"`` or ``"generate"``.
        arguments: The words after it.

    Returns:
        The exit status: 0 if all went well, 143 if SIGTERM stopped a training whose place is saved.
    """
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "generate": _generate,
    }
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return record(commands[command])(arguments) or 0
    try:
        return commands[command](arguments)
    except EXPECTED as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1


def parse_training(arguments: Sequence[str]) -> tuple[RunOptions, dict[str, Any]]:
    """Read the options of a run from words, of which the first may be a YAML or JSON file of options.

    Words win over the file. Both are read by transformers' ``HfArgumentParser``.

    Args:
        arguments: Words of the command line.

    Returns:
        The options, and the given fields of ``TrainingArguments``.

    Raises:
        ValueError: If the file is no mapping of options.
        FileNotFoundError: If it is not there.
    """
    words = list(arguments)
    if words and not words[0].startswith("-"):
        words = [*_words_of_file(words[0]), *words[1:]]
    names = [field.name for group in _groups() for field in dataclasses.fields(group)]
    given = _training_parser().parse_args(words, argparse.Namespace(**dict.fromkeys(names, NOT_GIVEN)))
    values = {name: value for name, value in vars(given).items() if value is not NOT_GIVEN}
    own = {field.name for field in dataclasses.fields(RunOptions)}
    options = RunOptions(**{name: value for name, value in values.items() if name in own})
    return options, {name: value for name, value in values.items() if name not in own}


def _training_parser() -> HfArgumentParser:
    usage = "python -m clmkit train [FILE.yaml | FILE.json] [--option value ...]"
    text = (
        "Fine-tune a causal language model. Run it again with the same words to go on after a break. It runs unchanged "
        "in `accelerate launch -m clmkit train ...` and `torchrun --nproc-per-node N -m clmkit train ...`."
    )
    return HfArgumentParser(_groups(), prog="python -m clmkit train", usage=usage, description=text, allow_abbrev=False)


def _groups() -> list[Any]:
    """The options as dataclasses for ``HfArgumentParser``, each a group of ``--help``."""
    own = [field.name for field in dataclasses.fields(RunOptions) if field.name not in FIRST]
    rest = [field.name for field in dataclasses.fields(TrainingArguments) if field.init]
    return [
        _group("The ten that matter", {RunOptions: FIRST, TrainingArguments: FIRST_OF_TRAINER}),
        _group("Data", {RunOptions: own}),
        _group(
            "All others of transformers' TrainingArguments",
            {TrainingArguments: [name for name in rest if name not in FIRST_OF_TRAINER]},
        ),
    ]


def _group(title: str, names: dict[type, Sequence[str]]) -> type:
    """Fields of dataclasses as one dataclass; their defaults are the course's."""
    parts: list[tuple[str, Any, Any]] = []
    for owner, chosen in names.items():
        hints = get_type_hints(owner)
        fields = {field.name: field for field in dataclasses.fields(owner)}
        parts += [(name, hints[name], _with_course_default(fields[name])) for name in chosen]
    group = dataclasses.make_dataclass("Options", parts)
    group._argument_group_name = title  # type: ignore[attr-defined]
    return group


def _with_course_default(field: "dataclasses.Field[Any]") -> Any:
    metadata = dict(field.metadata)
    if field.name in HELP:
        metadata["help"] = HELP[field.name]
    if field.default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=field.default_factory, metadata=metadata)
    default = None if field.name in BY_TRACK else COURSE_ARGUMENTS.get(field.name, field.default)
    return dataclasses.field(default=default, metadata=metadata)


def _words_of_file(name: str) -> list[str]:
    """The options of a file as words of the command line, which gives each its type."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml", ".json"):
        raise ValueError(f"{name!r} is neither an option nor a .yaml or .json file of options")
    text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{name}: malformed: {problem}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{name}: must hold options and their values, such as `rows: 1000`")
    words = []
    for option, value in values.items():
        if value is not None:
            words += [f"--{option}", *map(_word, value if isinstance(value, list) else [value])]
    return words


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _train(arguments: Sequence[str]) -> int:
    from clmkit.scale.run import train

    options, given = parse_training(arguments)
    if not sys.stderr.isatty():  # a bar in a log file is a line for every step
        datasets.disable_progress_bars()
        given.setdefault("disable_tqdm", True)
    result = train(options, **given)
    return 0 if result.score else TERMINATED


def _evaluate(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m clmkit evaluate", description="Measure a run's model on the blocks that its run.json holds out."
    )
    parser.add_argument("folder", type=Path, help="what `train` left")
    parser.add_argument("--batch_size", type=int, default=8, help="blocks in one forward pass")
    given = parser.parse_args(arguments)
    from clmkit.scale.run import evaluate

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
    from clmkit.scale.run import generate

    sample = not given.pop("greedy")
    for text in generate(given.pop("folder"), given.pop("prompt"), do_sample=sample, **given):
        print(text)
    return 0
