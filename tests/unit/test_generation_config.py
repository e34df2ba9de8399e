"""A model's own generation config, field by field: what the course overrides, and what it leaves to the model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.generation import generate_texts, next_token_probabilities, sampling_steps
from clmkit.tracks import BUNDLED
from clmkit.training.base_models import prepare_to_train
from clmkit.training.generation_config import make_savable

PROMPTS = ["The sky is blue because", "Because", "She smiled and went home to sleep."]  # the last is at its end
# Each field of GenerationConfig with a value that matters, and whether a text may change by it.
OVERRIDDEN: dict[str, Any] = {
    # More texts than one, or more than tokens.
    "num_return_sequences": 3,
    "return_dict_in_generate": True,
    "output_attentions": True,
    "output_hidden_states": True,
    "output_scores": True,
    "output_logits": True,
    # Other searches.
    "num_beams": 3,
    "num_beam_groups": 2,
    "diversity_penalty": 1.0,
    "early_stopping": True,
    "length_penalty": 2.0,
    "penalty_alpha": 0.6,
    "dola_layers": "low",
    "constraints": ["a"],
    "force_words_ids": [[5]],
    # Helpers that a model may lack.
    "prompt_lookup_num_tokens": 3,
    "max_matching_ngram_size": 2,
    "assistant_early_exit": 1,
    "assistant_lookbehind": 2,
    "target_lookbehind": 2,
    "assistant_ensemble_weight": 0.5,
    "assistant_confidence_threshold": 0.9,
    "num_assistant_tokens": 3,
    "num_assistant_tokens_schedule": "heuristic",
    "is_assistant": True,
    "speculation_type": "dflash",
    "use_mtp": True,
    # What arguments of the course's functions say.
    "do_sample": False,
    "temperature": 0.1,
    "top_k": 1,
    "top_p": 0.1,
    "repetition_penalty": 9.0,
    "max_length": 5,
    "max_new_tokens": 3,
    # Other ends; of two prompts in a batch the shorter one would get another text than alone.
    "min_length": 30,
    "max_time": 0.0,
    "forced_eos_token_id": 5,
    "forced_bos_token_id": 5,
    # Another prompt than was given.
    "token_healing": True,
    # How and where it is computed.
    "cache_implementation": "offloaded_static",
    "cache_config": {"backend": "quanto"},
    "max_cache_len": 3,
    "use_cache": False,
    "prefill_chunk_size": 2,
    "low_memory": True,
    "compile_config": None,
    "disable_compile": True,
    "continuous_batching_config": None,
    # Ids of tokens that a prompt has already, or that only an encoder's decoder has.
    "pad_token_id": -1,
    "bos_token_id": 5,
    "decoder_start_token_id": 4,
    # Notes.
    "transformers_version": "4.0.0",
    "_from_model_config": False,
    "_commit_hash": None,
}
OWN: dict[str, Any] = {
    "min_p": 0.9,
    "top_h": 0.1,
    "typical_p": 0.1,
    "epsilon_cutoff": 0.5,
    "eta_cutoff": 0.5,
    "encoder_repetition_penalty": 10.0,
    "no_repeat_ngram_size": 1,
    "encoder_no_repeat_ngram_size": 1,
    "min_new_tokens": 8,
    "exponential_decay_length_penalty": [1, 9.0],
    "guidance_scale": 5.0,
    "watermarking_config": lambda _: GenerationConfig(watermarking_config={"bias": 9.0}).watermarking_config,
    "stop_strings": ["e"],
    # With ids that the prompts' own continuation begins with.
    "bad_words_ids": lambda first: [[first]],
    "suppress_tokens": lambda first: [first],
    "begin_suppress_tokens": lambda first: [first],
    "sequence_bias": lambda first: [[[first], -50.0]],
    "eos_token_id": lambda first: [first],
}
CHANGES_NO_TEXT = {"renormalize_logits": True, "remove_invalid_values": True}  # the model's own, but of numbers alone


@pytest.fixture(scope="module")
def trained() -> GPT2LMHeadModel:
    return AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture(scope="module")
def plain(trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return generate_texts(trained, own_tokenizer, PROMPTS, max_new_tokens=8)


@pytest.fixture(scope="module")
def own_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")


@pytest.fixture
def asking(trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, plain: list[str]) -> Any:
    """Lets the model's own generation config ask for something, and forget it afterwards."""
    before = trained.generation_config
    (first,) = own_tokenizer(plain[0].removeprefix(PROMPTS[0]))["input_ids"][:1]

    def ask(name: str, value: Any) -> Any:
        trained.generation_config = GenerationConfig(**before.to_dict())
        value = value(first) if callable(value) else value
        setattr(trained.generation_config, name, value)
        trained.generation_config.do_sample = name != "do_sample" or None
        return value

    yield ask
    trained.generation_config = before


def test_the_tables_know_every_field_of_this_transformers() -> None:
    known = {*OVERRIDDEN, *OWN, *CHANGES_NO_TEXT}
    assert set(vars(GenerationConfig())) <= known, "decide what a text is to do with it"


@pytest.mark.parametrize("name", [*OVERRIDDEN, *CHANGES_NO_TEXT])
def test_what_is_not_a_models_taste_changes_no_text(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, plain: list[str], asking: Any, name: str
) -> None:
    asking(name, {**OVERRIDDEN, **CHANGES_NO_TEXT}[name])
    assert generate_texts(trained, own_tokenizer, PROMPTS, max_new_tokens=8) == plain


@pytest.mark.parametrize("name", OWN)
def test_what_is_a_models_taste_is_kept(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, plain: list[str], asking: Any, name: str
) -> None:
    asking(name, OWN[name])
    texts = generate_texts(trained, own_tokenizer, PROMPTS, max_new_tokens=8)
    assert len(texts) == len(PROMPTS)
    assert texts != plain


@pytest.mark.parametrize("name", OWN)
def test_the_last_step_is_what_generate_draws_from(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, asking: Any, name: str
) -> None:
    asking(name, OWN[name])
    how = {"temperature": 1.5, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.2}
    drawn = trained.generate(
        **own_tokenizer(PROMPTS[0], return_tensors="pt"),
        **how,
        tokenizer=own_tokenizer,
        do_sample=True,
        max_new_tokens=8,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    expected = drawn.scores[0][0].softmax(-1)
    last = sampling_steps(trained, own_tokenizer, PROMPTS[0], **how, show=8192)[-1]
    with torch.no_grad():
        order = trained(**own_tokenizer(PROMPTS[0], return_tensors="pt")).logits[0, -1].topk(8192).indices
    assert [p for _, p in last.best] == pytest.approx(expected[order].tolist(), rel=1e-4, abs=1e-9)
    assert last.left == int((expected > 0).sum())


def test_a_step_is_named_and_stands_where_generate_applies_it(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, asking: Any
) -> None:
    asking("top_h", 0.4)
    trained.generation_config.update(suppress_tokens=[1], typical_p=0.9, guidance_scale=2.0)
    names = [step.name for step in sampling_steps(trained, own_tokenizer, PROMPTS[0], top_k=5)]
    assert names == [
        "as it is",
        "guidance_scale 2",
        "repetition_penalty 1",
        "suppress_tokens",
        "temperature 1",
        "top_h 0.4",
        "top_k 5",
        "top_p 1",
        "typical_p 0.9",
    ]


@pytest.mark.parametrize(
    "name", ["no_repeat_ngram_size", "bad_words_ids", "stop_strings", "encoder_no_repeat_ngram_size"]
)
def test_a_prompt_gets_the_text_that_it_gets_alone_whatever_the_model_avoids(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, asking: Any, name: str
) -> None:
    asking(name, OWN[name])
    how = {"max_new_tokens": 8, "do_sample": False}
    alone = [generate_texts(trained, own_tokenizer, [prompt], **how)[0] for prompt in PROMPTS]
    assert generate_texts(trained, own_tokenizer, PROMPTS, **how) == alone


def test_a_model_that_wants_more_new_tokens_than_are_asked_for_writes_those_without_a_warning(
    trained: GPT2LMHeadModel, own_tokenizer: PreTrainedTokenizerBase, asking: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    asking("min_new_tokens", 30)
    trained.generation_config.update(max_length=2048, max_new_tokens=None)
    (text,) = generate_texts(trained, own_tokenizer, PROMPTS[:1], max_new_tokens=4)
    next_token_probabilities(trained, own_tokenizer, PROMPTS[0])
    assert len(own_tokenizer(text)["input_ids"]) <= len(own_tokenizer(PROMPTS[0])["input_ids"]) + 4
    assert capfd.readouterr().err == ""


EVERYTHING = {**OVERRIDDEN, **OWN, **CHANGES_NO_TEXT}


@pytest.mark.parametrize("do_sample", [None, True])
@pytest.mark.parametrize("name", EVERYTHING)
def test_a_config_can_be_saved_once_it_was_made_ready(tmp_path: Path, name: str, do_sample: bool | None) -> None:
    config = GenerationConfig(do_sample=do_sample, num_beams=4 if name == "num_return_sequences" else None)
    value = EVERYTHING[name]
    config.update(**{name: value(5) if callable(value) else value})
    # As a Trainer does before it trains; a config as it was loaded would be saved with its faults.
    config.eos_token_id = config.eos_token_id or 7
    make_savable(config)
    config.save_pretrained(tmp_path)
    again = GenerationConfig.from_pretrained(tmp_path)
    if name in OWN and do_sample:
        assert getattr(again, name) == getattr(config, name) is not None


def test_a_config_that_contradicts_itself_is_refused_before_training(model: GPT2LMHeadModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    model.generation_config.max_new_tokens = -1
    with pytest.raises(ValueError, match=r"could not be saved after training \(`max_new_tokens` must be .* mend it in"):
        prepare_to_train(model, tokenizer)


@pytest.mark.parametrize("beams", [None, 4])
def test_more_texts_than_a_search_gives_are_not_asked_for_in_what_is_saved(tmp_path: Path, beams: int | None) -> None:
    config = GenerationConfig(num_beams=beams)
    config.num_return_sequences = 5
    make_savable(config)
    config.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).num_return_sequences in (None, 1)
    kept = GenerationConfig(num_beams=5, num_return_sequences=5)
    make_savable(kept)
    assert kept.num_return_sequences == 5
