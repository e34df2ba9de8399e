"""Measure a causal language model: perplexity and bits per byte from summed token losses, and next-token accuracy."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import datasets
import evaluate
import numpy as np

from clmkit.gigatokens import BYTES
from clmkit.saving import check_cache
from clmkit.tracks import check_whole_number

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WORD_START = "▁"  # what SentencePiece writes for a space; it is none of a byte-level BPE's signs


def perplexity(mean_loss: float) -> float:
    """The exponential of the mean loss per token (the guide's ``math.exp(eval_results["eval_loss"])``).

    A model of perplexity 50 is as unsure of the next token as if it chose among 50 equally likely ones.

    Args:
        mean_loss: Mean cross-entropy per predicted token, in nats.

    Returns:
        The perplexity, 1 or more; ``inf`` where it is too large for a float.

    Raises:
        ValueError: If the loss is NaN or negative, which no cross-entropy is.
    """
    if math.isnan(mean_loss) or mean_loss < 0:
        raise ValueError(
            f"the loss is {mean_loss}, so there is no perplexity: either training has diverged (try a smaller "
            "learning rate; where it computed in float16, fp16=False switches that off), or every label is -100"
        )
    try:
        return math.exp(mean_loss)
    except OverflowError:
        return math.inf


class Score(NamedTuple):
    """How well a model predicts a data set: the summed loss in nats, the tokens predicted, and the bytes of these."""

    summed_loss: float
    tokens: int
    bytes: int | None = None

    @property
    def mean_loss(self) -> float:
        """Nats per predicted token."""
        return self.summed_loss / self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of ``mean_loss``."""
        return perplexity(self.mean_loss)

    @property
    def bits_per_byte(self) -> float:
        """Bits that the model needs for a byte of text, whatever its tokens are; ``nan`` if no bytes were counted.

        Perplexities of models compare only where the tokens are the same; this compares all that read the same text
        (The Pile, arXiv 2101.00027, section 3.1).
        """
        return self.summed_loss / math.log(2) / self.bytes if self.bytes else math.nan


class LossHistory(NamedTuple):
    """Losses of a run, each a list of (step, mean loss per token in nats)."""

    train: list[tuple[int, float]]
    test: list[tuple[int, float]]


@contextmanager
def evaluation_mode(model: "PreTrainedModel") -> Iterator[None]:
    """Switch dropout and gradients off, and give the model its mode back at the end, also after an error."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def score(
    model: "PreTrainedModel",
    blocks: "datasets.Dataset",
    batch_size: int = 16,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    before_batch: Callable[[], None] | None = None,
) -> Score:
    """Sum the loss of every predicted token of every block.

    Where ``torch.distributed`` runs, its processes share the batches, and all of them have to call this together; the
    sum is the same to the last digit.

    A mean of batch means weighs a short last batch too heavily, and ``Trainer.evaluate()`` leaves out batches whose
    loss is not finite; this sum does neither. A block of ``n`` tokens has ``n - 1`` predictions: nothing comes before
    its first token. The logits of a batch are never all in memory, where the model has a ``plain_head``.

    Args:
        model: A causal language model of Transformers; it is left in the mode, training or not, that it was in.
        blocks: Rows of ``input_ids`` of equal length, as ``chunk`` gives them; ``labels`` where they are others.
        batch_size: Blocks in one forward pass.
        tokenizer: The model's, to count the bytes that its tokens stand for; without it there are no bits per byte.
        before_batch: Called before each forward pass, in all processes; what it raises ends the evaluation.

    Returns:
        The summed loss, the number of predicted tokens, and with a tokenizer their bytes.

    Raises:
        ValueError: If there are no blocks, no predictions in them, or batches with a loss that is not finite; if
            ``batch_size`` is no whole number of 1 or more.
    """
    check_whole_number("batch_size", batch_size)
    import torch.distributed as dist

    from clmkit.plain_head import plain_head  # the kernel of Keras has no PyTorch

    shared = dist.is_available() and dist.is_initialized()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)
    batches, mine = math.ceil(len(blocks) / batch_size), []
    with evaluation_mode(model):
        head = plain_head(model)
        for first in range(0, batches, processes):
            if before_batch is not None:
                before_batch()
            # Where the model is sharded, every process has to take part in every round.
            start = min(first + rank, batches - 1) * batch_size
            pair = batch_loss(model, blocks[start : start + batch_size], head)
            if first + rank < batches:
                mine.append(pair)
    shares = [mine] * processes
    if shared:
        dist.all_gather_object(shares, mine)
    return sum_losses((pair for share in shares for pair in share), count_bytes(blocks, tokenizer))


def count_bytes(blocks: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase | None") -> int | None:
    """The UTF-8 bytes that the predicted tokens of blocks stand for; special tokens stand for none.

    Args:
        blocks: As for ``score``; the first token of a block is not predicted.
        tokenizer: A byte-level BPE, such as GPT-2's, or one in the manner of SentencePiece.

    Returns:
        Their number; ``None`` without a tokenizer, or with one of another kind, such as BERT's, which does not tell.
    """
    if tokenizer is None:
        return None
    special = special_ids(tokenizer)
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_vocab()  # what was added is written as it is
    plain = [token for token, i in vocabulary.items() if token not in added and i not in special]
    byte_level = BYTES.issuperset(chain.from_iterable(plain))
    if not byte_level and not any(token.startswith(WORD_START) for token in plain):
        return None
    lengths, total = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64), 0
    for token, i in vocabulary.items():
        if i not in special:
            lengths[i] = len(token.encode()) if token in added else _bytes(token, byte_level)
    for row in blocks:
        labels = np.asarray(row.get("labels", row["input_ids"]))[1:]
        total += int(lengths[labels[labels != -100]].sum())
    return total


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """The ids of tokens that stand for no text: those with a role, and those that were added as special."""
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(token_id for token_id, token in added if token.special)}


def _bytes(token: str, byte_level: bool) -> int:
    """The bytes of a token: each sign of a byte-level BPE is one, and so is SentencePiece's ``<0x0A>``."""
    if byte_level or re.fullmatch("<0x[0-9A-F]{2}>", token):
        return len(token) if byte_level else 1
    return len(token.replace(WORD_START, " ").encode())


def batch_loss(
    model: "PreTrainedModel", batch: Mapping[str, Any], head: "torch.nn.Linear | None" = None
) -> tuple[float, int]:
    """The summed loss of one batch in nats, and how many tokens were predicted, for ``sum_losses``.

    Args:
        model: A causal language model of Transformers, in evaluation mode.
        batch: ``input_ids``, as many lists of equal length as there are blocks, and ``labels`` where they are others.
        head: What ``plain_head`` finds: with it the logits of the batch are not all there at once.
    """
    import torch

    from clmkit.plain_head import before_head, summed_loss

    input_ids = torch.tensor(batch["input_ids"], device=model.device)
    labels = torch.tensor(batch.get("labels", batch["input_ids"]), device=model.device)
    if head is None:
        logits = model(input_ids=input_ids).logits[:, :-1].float()
        wanted = labels[:, 1:].flatten()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted, ignore_index=-100, reduction="sum")
    else:
        with before_head(head) as hidden:
            model(input_ids=input_ids)
        loss = summed_loss(head, hidden.pop(), labels)
    return loss.item(), int((labels[:, 1:] != -100).sum())


def sum_losses(batch_losses: Iterable[tuple[float, int]], predicted_bytes: int | None = None) -> Score:
    """Add up, for each batch, the summed loss in nats and the tokens predicted; every framework's ``score`` ends here.

    Args:
        batch_losses: The pairs.
        predicted_bytes: What ``count_bytes`` counted.

    Raises:
        ValueError: If there are no batches, no predictions in them, or batches with a loss that is not finite.
    """
    pairs = list(batch_losses)
    if not pairs:
        raise ValueError("there are no blocks to score")
    bad = sum(not math.isfinite(loss) for loss, _ in pairs)
    if bad:
        raise ValueError(
            f"{bad} of {len(pairs)} batches have a loss that is not finite, so no perplexity would be true: the "
            "weights are not finite themselves, or too large for the precision that they are loaded in (dtype)"
        )
    tokens = sum(count for _, count in pairs)
    if tokens == 0:
        raise ValueError("no token is predicted in these blocks: they are one token long, or every label is -100")
    return Score(math.fsum(loss for loss, _ in pairs), tokens, predicted_bytes)


class TokenAccuracy(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """The share of next tokens that the model ranks first, as a metric of ``evaluate``.

    It comes with clmkit because ``evaluate.load`` fetches even ``accuracy`` from the Hub. Predictions and references
    are sequences of equal length; position ``i`` of the predictions is the model's guess for position ``i + 1`` of the
    references, and references of -100 don't count.
    """

    def __init__(self, **settings: Any) -> None:
        """As every metric; raises an OSError if the cache, where it keeps what it compares, can't be written."""
        check_cache(evaluate.config.HF_METRICS_CACHE)
        super().__init__(**settings)

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.Sequence(datasets.Value("int64"))
        return evaluate.MetricInfo(
            description="Share of next tokens that the model ranks first.",
            citation="",
            inputs_description="predictions: the highest-ranked token ids; references: labels, -100 where none",
            features=datasets.Features({"predictions": ids, "references": ids}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        guesses, labels = np.asarray(predictions)[:, :-1], np.asarray(references)[:, 1:]
        counted = labels != -100
        if not counted.any():
            raise ValueError("no label to compare with: every one is -100")
        return {"token_accuracy": float((guesses == labels)[counted].mean())}
