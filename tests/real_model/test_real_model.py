"""What the course does with a model that it did not make: SmolLM2-135M-Instruct, as ``make real-model`` left it."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset, DatasetDict
from peft import LoraConfig, PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from clmkit.chunking import prepare_blocks
from clmkit.conversations import answer_questions, as_conversations, token_losses, tokenize_conversations
from clmkit.costs import learning_rate, model_facts
from clmkit.eli5 import load_eli5
from clmkit.evaluation import score
from clmkit.generation import generate_text, generate_texts
from clmkit.hub.download import download_model
from clmkit.hub.real_model import REAL_MODEL, real_model_folder, stands_in_for
from clmkit.tracks import Track, choose_track
from clmkit.training.lora import add_adapter, load_adapter, save_adapter
from clmkit.training.pytorch import build_trainer
from clmkit.widgets.chat import without_adapter
from clmkit.widgets.playground import stream_text

if stands_in_for(REAL_MODEL) is None:
    pytest.skip(f"no real model in {real_model_folder()}: make real-model", allow_module_level=True)

# Of the converted weights, on the first 8 blocks of 128 that the sample holds out.
PERPLEXITY, BITS_PER_BYTE = 64.25, 1.340
SHARE = 0.95  # of the loss on held-out answers that is left after ten steps, at most
PROMPT = "The sky is blue because"
QUESTIONS = ["Why is the sky blue?", "What is a magnet, and what does it do with iron?"]
LORA = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


@pytest.fixture(scope="module")
def folder() -> str:
    return download_model(str(real_model_folder()))


@pytest.fixture(scope="module")
def tokenizer(folder: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


def load(folder: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


@pytest.fixture(scope="module")
def model(folder: str) -> PreTrainedModel:
    """As it came; no test changes it."""
    return load(folder)


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    return choose_track("quick", chat=True, rows=60)


@pytest.fixture(scope="module")
def conversations(track: Track, tokenizer: PreTrainedTokenizerBase) -> DatasetDict:
    rows = load_eli5(track).train_test_split(test_size=0.2, seed=42)
    made = {name: tokenize_conversations(as_conversations(part), tokenizer, 96) for name, part in rows.items()}
    return DatasetDict({"train": made["train"].select(range(20)), "test": made["test"].select(range(4))})


@pytest.fixture(scope="module")
def tuned(folder: str, tokenizer: PreTrainedTokenizerBase, conversations: DatasetDict, track: Track) -> PeftModel:
    """With an adapter, after ten steps of two conversations."""
    set_seed(0)
    adapted = add_adapter(load(folder), LORA)
    arguments = TrainingArguments(
        "unused",
        max_steps=10,
        per_device_train_batch_size=2,
        learning_rate=learning_rate(track.model, adapter=True),
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    collator = DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100)
    Trainer(adapted, arguments, train_dataset=conversations["train"], data_collator=collator).train()
    return adapted.eval()


def test_its_size_and_licence_are_known_and_it_takes_the_place_of_its_name_on_the_hub(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert model_facts(REAL_MODEL) == (134_515_008, "apache-2.0")
    assert download_model(REAL_MODEL) == str(real_model_folder())
    assert "Taking what make real-model put here" in capsys.readouterr().out


def test_its_perplexity_is_what_it_was(model: PreTrainedModel, folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
    blocks = prepare_blocks(choose_track("quick", model=folder), tokenizer)["test"].select(range(8))
    result = score(model, blocks, tokenizer=tokenizer)
    assert result.perplexity == pytest.approx(PERPLEXITY, rel=0.01)
    assert result.bits_per_byte == pytest.approx(BITS_PER_BYTE, rel=0.01)
    text = "".join(tokenizer.batch_decode([row[1:] for row in blocks["input_ids"]]))
    assert result.bytes == len(text.encode())


def test_greedy_texts_are_the_same_after_saving_and_loading(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, read = load(str(tmp_path)), AutoTokenizer.from_pretrained(tmp_path)
    texts = [
        generate_text(*pair, PROMPT, max_new_tokens=20, do_sample=False) for pair in ((model, tokenizer), (again, read))
    ]
    assert texts[0] == texts[1] != PROMPT


def test_a_batch_gives_each_prompt_what_it_gets_alone(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    prompts, greedy = [PROMPT, "Bread rises when the yeast in"], {"max_new_tokens": 16, "do_sample": False}
    alone = [generate_text(model, tokenizer, prompt, **greedy) for prompt in prompts]
    assert generate_texts(model, tokenizer, prompts, **greedy) == alone
    asked = [answer_questions(model, tokenizer, [question], max_new_tokens=16)[0] for question in QUESTIONS]
    assert answer_questions(model, tokenizer, QUESTIONS, max_new_tokens=16) == asked


def test_an_answer_ends_by_itself_where_the_model_ends_its_turn(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    (answer,) = answer_questions(model, tokenizer, ["What is the capital of France?"], max_new_tokens=60)
    assert answer == "The capital of France is Paris."


def test_labels_are_the_answer_and_its_end_and_nothing_else(tokenizer: PreTrainedTokenizerBase) -> None:
    pairs = Dataset.from_list([{"question": " Why? ", "answer": "Because, 水.\n\nSo."}])
    (row,) = tokenize_conversations(as_conversations(pairs), tokenizer, 96)
    text = tokenizer.decode(row["input_ids"])
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.endswith("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause, 水.\n\nSo.<|im_end|>")
    counted = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(counted) == "Because, 水.\n\nSo.<|im_end|>"
    assert row["labels"][-len(counted) :] == row["input_ids"][-len(counted) :] == counted


def test_the_loss_of_each_token_adds_up_to_the_score(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, conversations: DatasetDict
) -> None:
    row = conversations["test"][0]
    losses = [token.loss for token in token_losses(model, tokenizer, **row) if token.loss is not None]
    result = score(model, conversations["test"].select([0]))
    assert len(losses) == result.tokens
    assert sum(losses) == pytest.approx(result.summed_loss, rel=1e-4)


def test_ten_steps_of_lora_lower_the_loss_on_held_out_answers(
    model: PreTrainedModel, tuned: PeftModel, conversations: DatasetDict
) -> None:
    before = score(model, conversations["test"], batch_size=1).mean_loss
    assert score(tuned, conversations["test"], batch_size=1).mean_loss <= SHARE * before
    with without_adapter(tuned):
        assert score(tuned, conversations["test"], batch_size=1).mean_loss == pytest.approx(before, rel=1e-6)


def test_an_adapter_comes_back_names_its_base_and_merges_to_the_same_model(
    folder: str, tokenizer: PreTrainedTokenizerBase, tuned: PeftModel, track: Track, tmp_path: Path
) -> None:
    saved = save_adapter(tuned, track, tmp_path / "adapter", before=4.0, after=3.6)
    written = "".join(path.read_text() for path in (saved / "adapter_config.json", saved / "README.md"))
    assert str(Path(folder).parent) not in written
    assert f'"base_model_name_or_path": "{REAL_MODEL}"' in written
    assert "license: apache-2.0" in written
    assert (saved / "adapter_model.safetensors").stat().st_size < 25e6
    again = load_adapter(load(folder), saved).eval()
    ids = torch.tensor([tokenizer(QUESTIONS[0])["input_ids"]])
    with torch.no_grad():
        expected = tuned(input_ids=ids).logits
        assert torch.equal(again(input_ids=ids).logits, expected)
        merged = again.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=ids).logits, expected, rtol=1e-3, atol=1e-3)
    one, other = (answer_questions(one, tokenizer, QUESTIONS[:1], max_new_tokens=16) for one in (tuned, merged))
    assert one == other


def test_what_is_streamed_is_what_is_returned(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    seen: list[str] = []
    text = stream_text(model, tokenizer, PROMPT, seen.append, max_new_tokens=12)
    assert seen[-1] == text
    assert len(set(seen)) > 5


def test_all_weights_are_trained_in_float32_though_they_are_stored_in_bfloat16(
    folder: str, tokenizer: PreTrainedTokenizerBase, conversations: DatasetDict, tmp_path: Path
) -> None:
    stored = AutoModelForCausalLM.from_pretrained(folder)
    assert stored.dtype == torch.bfloat16
    before = stored.model.norm.weight.detach().float().clone()
    blocks = DatasetDict(
        {name: Dataset.from_dict({"input_ids": [list(range(200, 232))] * 2}) for name in ("train", "test")}
    )
    mine = choose_track("quick", model=folder, rows=60)
    build_trainer(mine, stored, blocks, tokenizer, output_dir=str(tmp_path), max_steps=1, eval_strategy="no").train()
    assert stored.dtype == torch.float32
    assert not torch.equal(stored.model.norm.weight, before)


def test_an_adapter_is_trained_in_float32_on_a_frozen_base_in_bfloat16(folder: str) -> None:
    base = AutoModelForCausalLM.from_pretrained(folder)
    before = base.model.layers[0].mlp.up_proj.weight.detach().clone()
    adapted = add_adapter(base, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert {weight.dtype for weight in trained} == {torch.float32}
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    ids, losses = torch.arange(200, 208)[None], []
    for _ in range(3):
        loss = adapted(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    layer = adapted.get_base_model().model.layers[0]
    assert layer.mlp.up_proj.weight.dtype == torch.bfloat16
    assert torch.equal(layer.mlp.up_proj.weight, before)
