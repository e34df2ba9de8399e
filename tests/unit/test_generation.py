import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    GPT2LMHeadModel,
    MambaConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    RecurrentGemmaConfig,
    RwkvConfig,
    set_seed,
)

from clmkit.generation import (
    check_sampling,
    generate_text,
    generate_texts,
    next_token_probabilities,
    sampling_steps,
)
from clmkit.tracks import BUNDLED

PROMPT = "The sky is blue because"
ALL = 8192


@pytest.fixture
def trained(tokenizer: PreTrainedTokenizerBase) -> GPT2LMHeadModel:
    """The bundled model, whose next tokens are not all equally likely."""
    return AutoModelForCausalLM.from_pretrained(BUNDLED / "tiny_gpt2")


def probabilities_by_hand(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, prompt: str = PROMPT
) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1].softmax(-1)


def test_greedy_is_deterministic_whatever_the_seed(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    texts = {
        generate_text(model, tokenizer, PROMPT, max_new_tokens=12, do_sample=False, seed=seed) for seed in (1, 2, 3)
    }
    assert len(texts) == 1


def test_greedy_takes_the_most_probable_token_each_time(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    ids = tokenizer(PROMPT)["input_ids"]
    for _ in range(6):
        with torch.no_grad():
            ids.append(trained(torch.tensor([ids])).logits[0, -1].argmax().item())
    text = generate_text(trained, tokenizer, PROMPT, max_new_tokens=6, do_sample=False)
    assert text == tokenizer.decode(ids, skip_special_tokens=True)


def test_a_whole_number_is_as_good_as_a_float(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    whole, real = (
        generate_text(model, tokenizer, PROMPT, max_new_tokens=5, temperature=number(2), top_p=number(1))
        for number in (int, float)
    )
    assert whole == real


def test_greedy_ignores_the_sampling_arguments(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    plain = generate_text(model, tokenizer, PROMPT, max_new_tokens=5, do_sample=False)
    assert generate_text(model, tokenizer, PROMPT, max_new_tokens=5, do_sample=False, temperature=0, top_k=1) == plain


def test_the_same_seed_gives_the_same_text_and_another_seed_another(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    first, again, other = (
        generate_text(model, tokenizer, PROMPT, max_new_tokens=20, top_k=0, top_p=1.0, seed=seed) for seed in (7, 7, 8)
    )
    assert first == again != other


def test_the_text_begins_with_the_prompt_and_has_at_most_the_new_tokens_asked_for(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    text = generate_text(model, tokenizer, PROMPT, max_new_tokens=7, do_sample=False)
    assert text.startswith(PROMPT)
    prompt_length = len(tokenizer(PROMPT)["input_ids"])
    assert prompt_length < len(tokenizer(text)["input_ids"]) <= prompt_length + 7


def test_sampling_of_the_most_probable_token_alone_is_greedy(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    greedy = generate_text(trained, tokenizer, PROMPT, max_new_tokens=8, do_sample=False)
    assert generate_text(trained, tokenizer, PROMPT, max_new_tokens=8, top_k=1) == greedy
    assert generate_text(trained, tokenizer, PROMPT, max_new_tokens=8, top_p=1e-6) == greedy
    assert generate_text(trained, tokenizer, PROMPT, max_new_tokens=8, temperature=1e-4) == greedy


def test_an_eos_token_ends_the_text_and_is_not_shown(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    hidden = 32
    with torch.no_grad():  # of all tokens, eos_token alone has a positive logit, after any prompt
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(len(tokenizer), hidden))
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
        model.lm_head.weight[tokenizer.eos_token_id] = 1.0
    assert generate_text(model, tokenizer, PROMPT, max_new_tokens=50, do_sample=False) == PROMPT


def test_a_prompt_that_fills_the_context_with_the_new_tokens_is_taken(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    prompt = tokenizer.decode(tokenizer("sky " * 600)["input_ids"][:508])
    assert len(tokenizer(prompt)["input_ids"]) == 508
    assert generate_text(model, tokenizer, prompt, max_new_tokens=4, do_sample=False).startswith(prompt)
    with pytest.raises(ValueError, match=r"508 tokens and 5 more are to come.*context holds 512"):
        generate_text(model, tokenizer, prompt, max_new_tokens=5)


def test_a_model_left_in_training_mode_continues_as_in_evaluation_mode(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    # The random model has GPT-2's dropout of 0.1, as DistilGPT2 has.
    text = generate_text(model, tokenizer, PROMPT, max_new_tokens=20, do_sample=False)
    best = next_token_probabilities(model, tokenizer, PROMPT)
    model.train()
    assert generate_text(model, tokenizer, PROMPT, max_new_tokens=20, do_sample=False) == text
    assert next_token_probabilities(model, tokenizer, PROMPT) == best


def test_generating_causes_no_warning(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, capfd: pytest.CaptureFixture[str]
) -> None:
    generate_text(model, tokenizer, PROMPT, max_new_tokens=3)
    generate_text(model, tokenizer, PROMPT, max_new_tokens=3, do_sample=False)
    assert capfd.readouterr().err == ""


def test_next_token_probabilities_are_the_models_own(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    expected = probabilities_by_hand(trained, tokenizer).topk(10)
    shown = next_token_probabilities(trained, tokenizer, PROMPT)
    assert [token for token, _ in shown] == [tokenizer.decode([token]) for token in expected.indices.tolist()]
    assert [probability for _, probability in shown] == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_next_token_probabilities_add_up_to_one_and_come_in_descending_order(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    shown = [p for _, p in next_token_probabilities(trained, tokenizer, PROMPT, show=ALL)]
    assert len(shown) == ALL
    assert sum(shown) == pytest.approx(1, abs=1e-5)
    assert shown == sorted(shown, reverse=True)


def test_next_token_probabilities_show_no_more_tokens_than_there_are(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert len(next_token_probabilities(model, tokenizer, PROMPT, show=ALL + 1)) == ALL
    assert len(next_token_probabilities(model, tokenizer, PROMPT, show=3)) == 3


@pytest.mark.parametrize("k", [1, 5, 50])
def test_top_k_leaves_k_tokens(trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, k: int) -> None:
    kept = [p for _, p in next_token_probabilities(trained, tokenizer, PROMPT, top_k=k, show=ALL) if p > 0]
    everything = probabilities_by_hand(trained, tokenizer).topk(k).values
    assert kept == pytest.approx((everything / everything.sum()).tolist(), rel=1e-4)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95])
def test_top_p_leaves_the_fewest_tokens_that_add_up_to_p(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, p: float
) -> None:
    kept = [q for _, q in next_token_probabilities(trained, tokenizer, PROMPT, top_p=p, show=ALL) if q > 0]
    sorted_sums = probabilities_by_hand(trained, tokenizer).sort(descending=True).values.cumsum(0)
    assert len(kept) == int((sorted_sums < p).sum()) + 1
    assert sum(kept) == pytest.approx(1, abs=1e-5)


def test_a_low_temperature_favours_the_best_token_and_a_high_one_evens_out(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    best, second = (
        [next_token_probabilities(trained, tokenizer, PROMPT, temperature=t)[place][1] for t in (0.3, 1.0, 3.0)]
        for place in (0, 1)
    )
    assert best[0] > best[1] > best[2]
    assert best[0] / second[0] > best[1] / second[1] > best[2] / second[2] > 1


def test_temperature_is_applied_before_top_p(trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with torch.no_grad():
        logits = trained(**tokenizer(PROMPT, return_tensors="pt")).logits[0, -1]
    sums = (logits / 2).softmax(-1).sort(descending=True).values.cumsum(0)
    shown = next_token_probabilities(trained, tokenizer, PROMPT, temperature=2.0, top_p=0.5, show=ALL)
    assert sum(p > 0 for _, p in shown) == int((sums < 0.5).sum()) + 1


def test_generate_draws_only_tokens_that_the_probabilities_leave(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    shown = next_token_probabilities(trained, tokenizer, PROMPT, temperature=1.5, top_k=20, top_p=0.9, show=ALL)
    allowed = {token for token, probability in shown if probability > 0}
    drawn = {
        generate_text(
            trained, tokenizer, PROMPT, max_new_tokens=1, temperature=1.5, top_k=20, top_p=0.9, seed=seed
        ).removeprefix(PROMPT)
        for seed in range(12)
    }
    assert len(drawn) > 1
    assert drawn <= allowed


@pytest.mark.parametrize(
    "arguments",
    [
        {"temperature": 0.7, "top_k": 40, "top_p": 0.8, "repetition_penalty": 1.5},
        {"temperature": 2.0, "top_k": 0, "top_p": 0.6, "repetition_penalty": 0.7},
        {"temperature": 1.0, "top_k": 5, "top_p": 1.0, "repetition_penalty": 1.0},
        {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.2},
        {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 1.0},
    ],
)
def test_the_steps_end_at_the_scores_that_generate_draws_by(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, arguments: dict[str, float]
) -> None:
    inputs = tokenizer(PROMPT + " the sky", return_tensors="pt")
    how = {"max_new_tokens": 1, "do_sample": True, "pad_token_id": tokenizer.eos_token_id}
    output = trained.generate(**inputs, **how, **arguments, return_dict_in_generate=True, output_scores=True)
    order = probabilities_by_hand(trained, tokenizer, PROMPT + " the sky").argsort(descending=True, stable=True)
    expected = output.scores[0][0].softmax(-1)[order]
    last = sampling_steps(trained, tokenizer, PROMPT + " the sky", **arguments, show=ALL)[-1]
    assert [probability for _, probability in last.best] == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-9)
    assert last.left == int((expected > 0).sum())


def test_the_steps_have_names_in_the_order_of_generate_and_the_same_tokens(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    arguments = {"temperature": 0.8, "top_k": 12, "top_p": 0.5, "repetition_penalty": 1.2}
    steps = sampling_steps(trained, tokenizer, PROMPT, **arguments)
    names = ["as it is", "repetition_penalty 1.2", "temperature 0.8", "top_k 12", "top_p 0.5"]
    assert [step.name for step in steps] == names
    assert len({tuple(text for text, _ in step.best) for step in steps}) == 1
    assert [step.left for step in steps[:4]] == [ALL, ALL, ALL, 12]
    assert 1 <= steps[4].left < 12


def test_min_p_leaves_tokens_by_their_share_of_the_best_one_and_generate_draws_no_other(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    *_, before, last = sampling_steps(trained, tokenizer, PROMPT, temperature=2.0, min_p=0.5, show=ALL)
    assert last.name == "min_p 0.5"
    largest = before.best[0][1]
    assert [p > 0 for _, p in last.best] == [p >= 0.5 * largest for _, p in before.best]
    allowed = {token for token, probability in last.best if probability > 0}
    how = {"max_new_tokens": 1, "temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.5}
    drawn = {generate_text(trained, tokenizer, PROMPT, **how, seed=seed).removeprefix(PROMPT) for seed in range(12)}
    assert drawn <= allowed


def test_an_argument_that_is_switched_off_changes_nothing(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    steps = sampling_steps(trained, tokenizer, PROMPT)
    assert [step.best for step in steps] == [steps[0].best] * 5
    assert [step.left for step in steps] == [ALL] * 5


def test_a_repetition_penalty_makes_the_tokens_of_the_prompt_less_probable(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    raw, penalized, *_ = sampling_steps(trained, tokenizer, PROMPT, repetition_penalty=2, show=ALL)
    for token in tokenizer(PROMPT)["input_ids"]:
        text = tokenizer.decode([token])
        assert dict(penalized.best)[text] < dict(raw.best)[text]


def test_a_repetition_penalty_acts_without_sampling_too_and_one_prompt_alone_as_in_a_batch(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    prompts = [PROMPT, "People", "It is warm because"]
    how = {"max_new_tokens": 25, "do_sample": False, "repetition_penalty": 1.3}
    singly = [generate_text(trained, tokenizer, prompt, **how) for prompt in prompts]
    assert generate_texts(trained, tokenizer, prompts, **how) == singly
    assert generate_text(trained, tokenizer, PROMPT, max_new_tokens=25, do_sample=False) != singly[0]


def test_what_fills_a_shorter_prompt_is_not_punished_as_a_repetition(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    with torch.no_grad():  # id 0 is the best token after any prompt, and 7 the second best
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(len(tokenizer), 32))
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
        model.lm_head.weight[0], model.lm_head.weight[7] = 1.0, 0.9
    prompts = ["People", PROMPT]
    assert not any({0, 7} & set(ids) for ids in tokenizer(prompts)["input_ids"])
    how = {"max_new_tokens": 2, "do_sample": False, "repetition_penalty": 1.3}
    singly = [generate_text(model, tokenizer, prompt, **how) for prompt in prompts]
    assert singly == [prompt + tokenizer.decode([0, 7]) for prompt in prompts]
    assert generate_texts(model, tokenizer, prompts, **how) == singly


@pytest.mark.parametrize("do_sample", [True, False])
def test_random_numbers_go_on_as_if_no_text_had_been_written(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, do_sample: bool
) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    generate_text(model, tokenizer, PROMPT, max_new_tokens=3, do_sample=do_sample)
    assert draw() == expected


def test_a_model_without_a_limit_to_its_context_continues_a_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    model = BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=1, n_head=2))
    assert generate_text(model, tokenizer, PROMPT, max_new_tokens=2, do_sample=False).startswith(PROMPT)


TINY = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 0}


@pytest.mark.parametrize(
    "config",
    [
        RwkvConfig(**TINY, attention_hidden_size=16, vocab_size=ALL),
        RecurrentGemmaConfig(**TINY, vocab_size=ALL, intermediate_size=16, lru_width=16),
        MixtralConfig(**TINY, vocab_size=ALL, num_key_value_heads=1, num_local_experts=2, output_router_logits=True),
        MambaConfig(**TINY, vocab_size=ALL, state_size=4),
    ],
    ids=lambda config: config.model_type,
)
def test_a_text_does_not_depend_on_the_others_of_its_batch_whatever_the_model(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase
) -> None:
    set_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    prompts, how = [PROMPT, "Water", "The moon"], {"do_sample": False, "max_new_tokens": 6}
    alone = [generate_text(model, tokenizer, prompt, **how) for prompt in prompts]
    assert generate_texts(model, tokenizer, prompts, **how) == alone


@pytest.mark.parametrize("do_sample", [True, False])
def test_weights_that_are_not_finite_are_said_in_place_of_torchs_words(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, do_sample: bool
) -> None:
    with torch.no_grad():
        trained.transformer.ln_f.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="the model's probabilities are not finite"):
        generate_text(trained, tokenizer, PROMPT, do_sample=do_sample)


@pytest.mark.parametrize("penalty", [0, -1, float("nan"), float("inf")])
def test_check_sampling_refuses_what_is_no_penalty(penalty: float) -> None:
    with pytest.raises(ValueError, match=rf"repetition_penalty must be above 0 .*, not {penalty}"):
        check_sampling(repetition_penalty=penalty)


def test_two_threads_draw_the_texts_that_each_would_draw_alone(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    def write(seed: int) -> str:
        return generate_text(trained, tokenizer, PROMPT, max_new_tokens=30, seed=seed)

    alone = [write(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, range(4))) == alone


def test_check_sampling_takes_what_switches_each_argument_off() -> None:
    assert check_sampling(1.0, 0, 1.0) is None
    assert check_sampling(0.1, 50, 0.95) is None
    assert check_sampling(min_p=0.0) is None


@pytest.mark.parametrize("min_p", [-0.1, 1.5, float("nan")])
def test_check_sampling_refuses_what_is_no_share(min_p: float) -> None:
    with pytest.raises(ValueError, match=r"min_p must be from 0 to 1 \(0 keeps every token\), not"):
        check_sampling(min_p=min_p)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 1), "temperature must be above 0 and finite, not 0"),
        ((float("nan"), 0, 1), "temperature must be above 0 and finite, not nan"),
        ((float("inf"), 0, 1), "temperature must be above 0 and finite, not inf"),
        (("0.8", 0, 1), "temperature must be above 0 and finite, not 0.8"),
        ((1, True, 1), "top_k must be a whole number of 0 or more .*, not True"),
        ((1, -1, 1), "top_k must be a whole number of 0 or more .*, not -1"),
        ((1, 2.5, 1), "top_k must be a whole number of 0 or more .*, not 2.5"),
        ((1, 0, 0), "top_p must be above 0 and at most 1 .*, not 0"),
        ((1, 0, 1.5), "top_p must be above 0 and at most 1 .*, not 1.5"),
        ((1, 0, float("nan")), "top_p must be above 0 and at most 1 .*, not nan"),
    ],
)
def test_check_sampling_refuses_the_rest(arguments: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sampling(*arguments)


def test_generation_works_with_a_tokenizer_without_pad_token(model: GPT2LMHeadModel) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.pad_token = None
    assert generate_text(model, own, PROMPT, max_new_tokens=2).startswith(PROMPT)


def test_a_tokenizer_that_ends_texts_does_not_end_prompts(trained: GPT2LMHeadModel) -> None:
    plain, ending = (AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2") for _ in range(2))
    eos = ending.eos_token
    ending.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {eos}", special_tokens=[(eos, ending.eos_token_id)]
    )
    assert ending(PROMPT)["input_ids"] == [*plain(PROMPT)["input_ids"], plain.eos_token_id]
    prompts = [PROMPT, "Because"]
    texts = [
        generate_texts(trained, tokenizer, prompts, max_new_tokens=8, do_sample=False) for tokenizer in (plain, ending)
    ]
    assert texts[0] == texts[1]


def test_whatever_the_models_own_generation_config_asks_for_there_is_one_text_a_prompt(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    expected = generate_texts(trained, tokenizer, [PROMPT, "Because"], max_new_tokens=8)
    trained.generation_config.update(num_beams=3, num_return_sequences=3, return_dict_in_generate=True)
    assert generate_texts(trained, tokenizer, [PROMPT, "Because"], max_new_tokens=8) == expected


@pytest.mark.parametrize("own", [{"min_p": 0.3}, {"typical_p": 0.2}, {"epsilon_cutoff": 0.05}])
def test_the_steps_end_with_what_the_models_own_config_leaves(
    trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, own: dict[str, float]
) -> None:
    before = sampling_steps(trained, tokenizer, PROMPT, top_k=50, show=ALL)
    trained.generation_config.update(**own)
    steps = sampling_steps(trained, tokenizer, PROMPT, top_k=50, show=ALL)
    ((name, value),) = own.items()
    assert [step.name for step in steps] == [*(step.name for step in before), f"{name} {value:g}"]
    # What generate draws from, by its own account.
    drawn = trained.generate(
        **tokenizer(PROMPT, return_tensors="pt"),
        do_sample=True,
        top_k=50,
        top_p=1.0,
        max_new_tokens=1,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    assert steps[-1].left == int((drawn.scores[0] > -torch.inf).sum()) < steps[-2].left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more, not 0"),
        ({"batch_size": -1}, "batch_size must be a whole number of 1 or more, not -1"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of 1 or more, not 0"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number of 1 or more, not True"),
        ({"max_new_tokens": 1.5}, "max_new_tokens must be a whole number of 1 or more, not 1.5"),
        ({"seed": None}, "seed must be a whole number from 0 to .*, not None"),
        ({"seed": -1}, "seed must be a whole number from 0 to .*, not -1"),
        ({"temperature": float("inf")}, "temperature must be above 0 and finite, not inf"),
        ({"repetition_penalty": None}, "repetition_penalty must be above 0 and finite .*, not None"),
        ({"do_sample": False, "repetition_penalty": "1"}, "repetition_penalty must be above 0"),
    ],
)
def test_what_is_no_argument_is_refused_and_draws_nothing(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, arguments: dict[str, Any], message: str
) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        generate_texts(model, tokenizer, [PROMPT], **arguments)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_text_is_no_list_of_prompts(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match=r"prompts must be a list, not one text: \['The sky"):
        generate_texts(model, tokenizer, PROMPT)


def test_an_empty_prompt_is_named_by_its_number_before_any_text_is_written(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "generate", lambda **arguments: pytest.fail("it began"))
    with pytest.raises(ValueError, match=r"the prompt \(number 2\) is empty"):
        generate_texts(model, tokenizer, [PROMPT, "People", " "], batch_size=1)


def test_more_tokens_than_there_are_may_be_kept(trained: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    how = {"max_new_tokens": 5, "top_p": 1.0}
    everything = generate_text(trained, tokenizer, PROMPT, top_k=0, **how)
    assert generate_text(trained, tokenizer, PROMPT, top_k=10**6, **how) == everything
    assert sampling_steps(trained, tokenizer, PROMPT, top_k=10**6)[-1].left == ALL


def test_random_numbers_go_on_as_before_where_generating_fails(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**arguments: Any) -> None:
        torch.rand(3)
        raise RuntimeError("no memory")

    monkeypatch.setattr(model, "generate", fail)
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no memory"):
        generate_text(model, tokenizer, PROMPT)
    assert torch.equal(torch.get_rng_state(), state)


def adding(eos: str, bos: str | None = None, end: str = "") -> PreTrainedTokenizerBase:
    """The bundled tokenizer with a BOS of its own, and a sign that it puts at the end of every text."""
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    signs = [sign for sign in (bos, end) if sign]
    own.add_special_tokens({"additional_special_tokens": signs} if signs else {})
    own.eos_token, own.bos_token = eos, bos
    ids = [(sign, own.convert_tokens_to_ids(sign)) for sign in signs]
    shape = " ".join(filter(None, (bos, "$A", end)))
    own.backend_tokenizer.post_processor = TemplateProcessing(single=shape, special_tokens=ids)
    return own


def test_what_a_tokenizer_puts_at_the_end_does_not_end_a_prompt_even_if_it_is_no_eos(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As BERT's tokenizers do, with which there are GPT-2s too; the sign is outside of this model's vocabulary.
    own = adding(tokenizer.eos_token, end="[SEP]")
    assert own(PROMPT)["input_ids"][-1] == ALL
    how = {"max_new_tokens": 8, "do_sample": False}
    assert generate_text(model, own, PROMPT, **how) == generate_text(model, tokenizer, PROMPT, **how)


def test_a_prompt_of_special_tokens_alone_begins_a_text_or_is_refused(trained: GPT2LMHeadModel) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.bos_token = eos = own.eos_token  # as GPT-2 has it
    how = {"max_new_tokens": 4, "do_sample": False}
    assert generate_text(trained, own, eos, **how) == generate_text(trained, own, eos * 3, **how) != ""
    with pytest.raises(ValueError, match="has no tokens: give the model at least a word to continue"):
        generate_text(trained, adding(eos, bos=None), eos)


def test_a_model_that_names_no_end_ends_at_its_tokenizers(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    with torch.no_grad():  # of all tokens, eos_token alone has a positive logit, after any prompt
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(len(tokenizer), 32))
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.fill_(1.0)
        model.lm_head.weight[tokenizer.eos_token_id] = 1.0
    model.generation_config.eos_token_id = None
    seen: list[int] = []
    generate_text(model, tokenizer, PROMPT, max_new_tokens=9, do_sample=False, streamer=counting(seen))
    assert seen == [tokenizer.eos_token_id]


def counting(seen: list[int]) -> Any:
    class Counting:
        def put(self, value: torch.Tensor) -> None:
            seen.extend(value.flatten().tolist() if value.ndim == 1 else [])

        def end(self) -> None:
            pass

    return Counting()


def test_a_text_that_ended_in_a_batch_shows_nothing_that_fills_it_up(trained: GPT2LMHeadModel) -> None:
    own = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    own.eos_token = own.pad_token = own.bos_token = None
    how = {"max_new_tokens": 12, "do_sample": False}
    text = generate_text(trained, own, PROMPT, **how)
    trained.generation_config.eos_token_id = own(text.removeprefix(PROMPT))["input_ids"][2]  # an ordinary token
    alone = [generate_text(trained, own, prompt, **how) for prompt in (PROMPT, "People")]
    assert alone[0] != text
    assert generate_texts(trained, own, [PROMPT, "People"], **how) == alone
