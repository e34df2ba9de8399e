import math

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from clmkit.evaluation import Score, TokenAccuracy, count_bytes, perplexity, score
from clmkit.tracks import BUNDLED, Track
from clmkit.training.pytorch import build_trainer


def loss_by_hand(model: GPT2LMHeadModel, rows: list[list[int]]) -> tuple[float, int]:
    """Minus the log of each next token's probability, one block and one token at a time."""
    total, count = 0.0, 0
    for ids in rows:
        with torch.no_grad():
            probabilities = model(torch.tensor([ids])).logits[0].double().softmax(-1)
        for place in range(len(ids) - 1):
            total -= math.log(probabilities[place, ids[place + 1]].item())
            count += 1
    return total, count


@given(st.floats(0, 700))
def test_perplexity_is_the_exponential_of_the_loss(loss: float) -> None:
    assert perplexity(loss) == math.exp(loss)


def test_perplexity_of_a_loss_of_zero_is_one() -> None:
    assert perplexity(0) == 1


@pytest.mark.parametrize("loss", [710.0, 1e6, 1e308, math.inf])
def test_perplexity_too_large_for_a_float_is_infinite(loss: float) -> None:
    assert perplexity(loss) == math.inf


@pytest.mark.parametrize("loss", [math.nan, -0.1, -math.inf])
def test_perplexity_of_what_is_no_loss_is_an_error(loss: float) -> None:
    with pytest.raises(ValueError, match=r"the loss is .*, so there is no perplexity"):
        perplexity(loss)


def test_perplexity_takes_numbers_of_numpy_and_torch() -> None:
    assert perplexity(np.float64(2.0)) == perplexity(torch.tensor(2.0).item()) == math.exp(2)


def test_a_score_knows_its_mean_loss_and_perplexity() -> None:
    result = Score(summed_loss=6.0, tokens=3)
    assert (result.mean_loss, result.perplexity) == (2.0, math.exp(2))


def test_score_equals_a_cross_entropy_by_hand(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    result = score(model, blocks["test"])
    total, count = loss_by_hand(model, blocks["test"]["input_ids"][:])
    assert result.tokens == count == len(blocks["test"]) * 31
    assert result.summed_loss == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 1000])
def test_score_is_the_same_whatever_the_batch_size(
    model: GPT2LMHeadModel, blocks: DatasetDict, batch_size: int
) -> None:
    rows = blocks["train"].select(range(7))  # no multiple of 3 or 4, so that the last batch is short
    total, count = loss_by_hand(model, rows["input_ids"][:])
    result = score(model, rows, batch_size)
    assert result.tokens == count
    assert result.summed_loss == pytest.approx(total, rel=1e-5)


def test_score_does_not_count_labels_of_minus_100(model: GPT2LMHeadModel) -> None:
    ids, labels = [5, 6, 7, 8], [5, 6, -100, 8]
    masked = Dataset.from_dict({"input_ids": [ids], "labels": [labels]})
    with torch.no_grad():
        losses = -model(torch.tensor([ids])).logits[0].log_softmax(-1)
    result = score(model, masked)
    assert result.tokens == 2
    assert result.summed_loss == pytest.approx((losses[0, 6] + losses[2, 8]).item(), rel=1e-5)


def test_score_switches_dropout_off_and_leaves_the_mode_as_it_was(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    in_eval_mode = score(model, blocks["test"])
    assert not model.training
    assert score(model.train(), blocks["test"]) == in_eval_mode
    assert model.training


def test_score_leaves_the_mode_as_it_was_where_it_fails(broken_model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    outside = Dataset.from_dict({"input_ids": [[0, 9999]], "labels": [[0, 9999]]})
    for rows, error in ((blocks["test"], ValueError), (outside, IndexError)):
        broken_model.train()
        with pytest.raises(error):
            score(broken_model, rows)
        assert broken_model.training


def test_score_leaves_no_gradients(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    score(model, blocks["test"])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_score_counts_the_batches_without_a_finite_loss(broken_model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    with pytest.raises(ValueError, match=r"3 of 3 batches have a loss that is not finite"):
        score(broken_model, blocks["train"].select(range(9)), batch_size=4)


def test_score_counts_only_the_batches_that_are_bad(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    rows = blocks["train"].select(range(4))
    bad_token = next(iter(set(rows[3]["input_ids"]) - set(sum(rows[:3]["input_ids"], []))))  # noqa: RUF017
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # untie it from the input
        model.transformer.wte.weight[bad_token] = torch.nan
    with pytest.raises(ValueError, match=r"1 of 4 batches"):
        score(model, rows, batch_size=1)


@pytest.mark.parametrize("size", [0, -1, 1.5])
def test_score_wants_a_batch_of_one_block_or_more(model: GPT2LMHeadModel, blocks: DatasetDict, size: float) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be a whole number of 1 or more, not {size}"):
        score(model, blocks["test"], size)  # type: ignore[arg-type]


def test_score_of_no_blocks_is_an_error(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    with pytest.raises(ValueError, match="no blocks"):
        score(model, blocks["test"].select([]))


@pytest.mark.parametrize(
    ("ids", "labels"), [([[5], [6]], [[5], [6]]), ([[5, 6, 7]], [[5, -100, -100]])], ids=["one token", "masked"]
)
def test_score_of_blocks_that_predict_nothing_is_an_error(
    model: GPT2LMHeadModel, ids: list[list[int]], labels: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match="no token is predicted"):
        score(model, Dataset.from_dict({"input_ids": ids, "labels": labels}))


def test_trainer_evaluate_gives_the_mean_loss_of_score(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    # A Trainer that does not know that the labels get shifted divides the loss of 31 predictions by 32. As many blocks
    # as one batch holds, since the Trainer's mean of batch means weighs a short last batch too heavily.
    eight = DatasetDict(train=blocks["train"], test=blocks["train"].select(range(8)))
    trainer = build_trainer(quick, model, eight, tokenizer)
    assert trainer.args.per_device_eval_batch_size == 8
    assert trainer.evaluate()["eval_loss"] == pytest.approx(score(model, eight["test"]).mean_loss, rel=1e-5)


def test_the_loss_that_the_trainer_trains_with_is_the_mean_loss_of_score(
    quick: Track, model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop"):
        setattr(model.config, name, 0.0)
    model = GPT2LMHeadModel(model.config)
    eight = DatasetDict(train=blocks["train"].select(range(8)), test=blocks["test"])
    expected = score(model, eight["train"]).mean_loss
    trainer = build_trainer(quick, model, eight, tokenizer, logging_steps=1, eval_strategy="no", save_strategy="no")
    trainer.train()
    # The log rounds to four significant digits; 31 instead of 32 would be off by 3 in 100.
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-3)


def test_token_accuracy_compares_each_guess_with_the_next_label() -> None:
    guesses = [[2, 3, 9, 0], [7, 7, 7, 7]]
    labels = [[1, 2, 3, 4], [7, 7, 8, 7]]
    assert TokenAccuracy().compute(predictions=guesses, references=labels) == {"token_accuracy": 4 / 6}


def test_token_accuracy_does_not_count_labels_of_minus_100() -> None:
    result = TokenAccuracy().compute(predictions=np.array([[2, 9, 9]]), references=np.array([[1, 2, -100]]))
    assert result == {"token_accuracy": 1.0}


def test_token_accuracy_without_a_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="no label to compare with"):
        TokenAccuracy().compute(predictions=[[1, 2]], references=[[1, -100]])


def test_token_accuracy_collects_batches_as_any_metric_does() -> None:
    metric = TokenAccuracy()
    metric.add_batch(predictions=[[2, 0]], references=[[1, 2]])
    metric.add_batch(predictions=[[2, 0]], references=[[1, 3]])
    assert metric.compute() == {"token_accuracy": 0.5}


def test_token_accuracy_of_a_models_guesses(model: GPT2LMHeadModel, blocks: DatasetDict) -> None:
    ids = torch.tensor(blocks["test"]["input_ids"][:])
    with torch.no_grad():
        guesses = model(ids).logits.argmax(-1)
    right = guesses[:, :-1] == ids[:, 1:]
    result = TokenAccuracy().compute(predictions=guesses.tolist(), references=ids.tolist())
    assert result == {"token_accuracy": pytest.approx(right.float().mean().item())}


def test_an_evaluation_can_be_given_up_before_any_batch(model: GPT2LMHeadModel) -> None:
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3]] * 5})
    asked = []

    def give_up() -> None:
        asked.append(len(asked))
        if len(asked) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        score(model, rows, 2, before_batch=give_up)
    assert asked == [0, 1]
    assert not model.training


def test_bits_per_byte_are_the_loss_in_bits_over_the_bytes_of_the_predicted_text(
    model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase
) -> None:
    result = score(model, blocks["test"], tokenizer=tokenizer)
    text = "".join(tokenizer.batch_decode([ids[1:] for ids in blocks["test"]["input_ids"]]))
    assert result.bytes == len(text.encode())
    assert result.bits_per_byte == pytest.approx(result.summed_loss / math.log(2) / len(text.encode()), rel=1e-12)
    assert math.isnan(score(model, blocks["test"]).bits_per_byte)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_bits_per_byte_are_the_same_whatever_the_batch_size(
    model: GPT2LMHeadModel, blocks: DatasetDict, tokenizer: PreTrainedTokenizerBase, batch_size: int
) -> None:
    one, other = (score(model, blocks["test"], size, tokenizer=tokenizer) for size in (7, batch_size))
    assert one.bits_per_byte == pytest.approx(other.bits_per_byte, rel=1e-6)


def test_bytes_are_those_of_all_characters_and_special_tokens_have_none(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "Ünïcödé, 水, العربية 🐪\n\n"
    ids = tokenizer(f"x{text}<|endoftext|>{text}")["input_ids"]
    rows = Dataset.from_dict({"input_ids": [ids]})
    assert count_bytes(rows, tokenizer) == 2 * len(text.encode())
    labels = [-100] * len(ids)
    labels[1:3] = ids[1:3]
    rows = Dataset.from_dict({"input_ids": [ids], "labels": [labels]})
    assert count_bytes(rows, tokenizer) == sum(len(token) for token in tokenizer.convert_ids_to_tokens(ids[1:3]))


def test_bytes_of_sentencepiece_are_counted_too() -> None:
    vocabulary = {"<unk>": 0, "▁the": 1, "▁sky": 2, "é": 3, "<0x0A>": 4}
    built = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>")
    rows = Dataset.from_dict({"input_ids": [[1, 1, 2, 3, 4, 0]]})
    assert count_bytes(rows, wrapped) == len(b" the sky") + 2 + 1


def test_bytes_are_not_counted_where_tokens_do_not_tell_them() -> None:
    built = Tokenizer(WordPiece({"[UNK]": 0, "中": 1, "国": 2, "sky": 3, "##light": 4}, unk_token="[UNK]"))
    of_bert = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="[UNK]")
    assert count_bytes(Dataset.from_dict({"input_ids": [[1, 2, 3, 4]]}), of_bert) is None


def test_bytes_of_added_tokens_and_of_a_vocabulary_with_gaps(tokenizer: PreTrainedTokenizerBase) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.add_tokens(["\u0645\u0631\u062d\u0628\u0627"])
    ids = own("x\u0645\u0631\u062d\u0628\u0627")["input_ids"]
    assert count_bytes(Dataset.from_dict({"input_ids": [ids]}), own) == 10
    built = Tokenizer(BPE({"a": 0, "b": 300}, []))
    gaps = PreTrainedTokenizerFast(tokenizer_object=built)
    assert count_bytes(Dataset.from_dict({"input_ids": [[0, 300, 300]]}), gaps) == 2
