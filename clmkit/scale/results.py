"""What a run leaves in its folder, and what can be done with that."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import AutoTokenizer, Trainer

from clmkit.evaluation import Score, score
from clmkit.generation import generate_texts
from clmkit.hub.download import download_model
from clmkit.messages import _
from clmkit.scale.adapters import LORA
from clmkit.scale.data import Prepared, prepare_rows, read_held_out
from clmkit.scale.processes import join_processes, one_voice
from clmkit.scale.record import describe_score, read_record, read_score, read_track, write_record
from clmkit.tracks import Track
from clmkit.training.base_models import load_model
from clmkit.training.model_card import write_card
from clmkit.training.output_folder import RECORD
from clmkit.training.pytorch import hyperparameters, loss_history


def write_results(
    folder: Path, track: Track, prepared: Prepared, trainer: Trainer, record: Mapping[str, Any], after: Score
) -> None:
    """Write the card and the curve of a model that was trained, and the JSON of its run, and say so.

    Args:
        folder: Where the model is.
        track: What it was trained from, and on.
        prepared: The blocks.
        trainer: Trained it.
        record: What was known before.
        after: The score of the model on the blocks held out.

    Raises:
        OSError: If the folder can't be written.
    """
    history = loss_history(trainer.state.log_history)
    shown = {**hyperparameters(trainer.args), "steps": trainer.state.global_step, "processes": trainer.args.world_size}
    if (lora := record["decisive"].get("lora")) is not None:
        shown["LoRA"] = json.dumps({**LORA, **lora})
    write_card(
        folder,
        track,
        prepared.facts,
        framework="pytorch",
        hyperparameters=shown,
        before=read_score(record["before"]) if record["before"] else None,
        after=after,
        history=history,
    )
    results = {"status": "finished", "after": describe_score(after), "losses": history._asdict()}
    write_record(folder, {**record, **results})
    print_score(after, len(prepared.test))
    print(_("The model, its card, its curve and {record} are in {folder}", record=RECORD, folder=folder.as_posix()))


def print_score(result: Score, blocks: int) -> None:
    """Print a score on so many blocks."""
    print(
        _(
            "Perplexity {perplexity:.2f} on {tokens:,} predictions in {blocks:,} blocks held out",
            perplexity=result.perplexity,
            tokens=result.tokens,
            blocks=blocks,
        )
    )
    if result.bytes:
        print(_("{bits:.3f} bits per byte of their text", bits=result.bits_per_byte))


def evaluate(folder: str | Path, batch_size: int = 8) -> Score:
    """Measure the model that a run left on the blocks that it held out, on as many processes as there are.

    Args:
        folder: What ``train`` left.
        batch_size: Blocks in one forward pass.

    Returns:
        The score, which is also printed.

    Raises:
        FileNotFoundError: If the folder holds no finished run.
        ValueError: If its data has changed.
    """
    state = join_processes()
    with one_voice():
        record = read_record(folder)
        if record is None or record["status"] != "finished":
            found = "no run" if record is None else "a run that is not finished"
            raise FileNotFoundError(f"{str(folder)!r} holds {found}: `python -m clmkit train --output_dir {folder}`")
        check_model(folder)
        model = load_model(folder).to(state.device)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if record["stream"]:
            test = read_held_out(Path(folder))
        else:
            with state.local_main_process_first():
                prepared = prepare_rows(read_track(record), tokenizer, None)
            test = prepared.test
            if prepared.fingerprint != record["data"]["fingerprint"]:
                source = prepared.facts["data"]
                raise ValueError(f"{source} is not what the model in {str(folder)!r} was trained and tested on")
        result = score(model, test, batch_size, tokenizer=tokenizer)
        print_score(result, len(test))
    return result


def check_model(folder: str | Path) -> None:
    """Raise a FileNotFoundError unless a folder is there, and as ``download_model`` unless it holds a whole model."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r} with a model: train one there first")
    download_model(str(folder))


def generate(folder: str | Path, prompts: Sequence[str], **arguments: Any) -> list[str]:
    """Continue prompts with the model in a folder; the arguments are those of ``generate_texts``.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: If it is not whole or no causal language model, and as ``generate_texts``.
    """
    check_model(folder)
    model: Any = load_model(folder)
    model.to(PartialState().device)
    return generate_texts(model, AutoTokenizer.from_pretrained(folder), prompts, **arguments)
