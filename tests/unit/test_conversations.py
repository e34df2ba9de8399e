"""Conversations without a real model: which rows make one, what is counted, and what can't be asked."""

from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerBase

from clmkit.conversations import answer_questions, as_conversations, token_losses, tokenize_conversations
from clmkit.eli5 import load_eli5
from clmkit.evaluation import score
from clmkit.tracks import BUNDLED, QUICK

TEMPLATE = "{% for m in messages %}{{ m.role }}:\n{{ m.content }}<|endoftext|>\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}assistant:\n{% endif %}"


@pytest.fixture
def chatty() -> PreTrainedTokenizerBase:
    """The bundled tokenizer with a chat template."""
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED / "tiny_gpt2")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def pairs(*rows: tuple[Any, Any]) -> Dataset:
    return Dataset.from_list([{"question": question, "answer": answer} for question, answer in rows])


def test_a_question_of_eli5_gets_its_first_answer() -> None:
    rows = load_eli5(QUICK)
    made = as_conversations(rows)
    assert len(made) == len(rows)
    assert made[0]["messages"] == [
        {"content": rows[0]["title"], "role": "user"},
        {"content": rows[0]["answers"]["text"][0], "role": "assistant"},
    ]


def test_rows_without_a_question_or_an_answer_are_left_out() -> None:
    made = as_conversations(pairs(("Why?", "So."), ("Why?", None), ("", "So."), ("How?", "")))
    assert [messages[0]["content"] for messages in made["messages"]] == ["Why?"]
    with pytest.raises(ValueError, match="none of 1 rows has both"):
        as_conversations(pairs(("Why?", "")))
    with pytest.raises(ValueError, match="the columns are text, and have to be question and answer"):
        as_conversations(Dataset.from_dict({"text": ["Why?"]}))


@pytest.mark.parametrize("answers", [[{"text": "So."}, {"text": "Or so."}], ["So.", "Or so."], "So.", {"text": "So."}])
def test_answers_may_be_objects_or_texts(answers: Any) -> None:
    rows = [{"title": "Why?", "answers": answers}, {"title": "Why not?", "answers": None}]
    (made,) = as_conversations(Dataset.from_list(rows))["messages"]
    assert [message["content"] for message in made] == ["Why?", "So."]


def test_labels_are_the_answers_tokens_up_to_its_end(chatty: PreTrainedTokenizerBase) -> None:
    (row,) = tokenize_conversations(as_conversations(pairs(("Why?", "So it is."))), chatty, 64)
    assert chatty.decode(row["input_ids"]) == "user:\nWhy?<|endoftext|>\nassistant:\nSo it is.<|endoftext|>"
    assert chatty.decode([label for label in row["labels"] if label != -100]) == "So it is.<|endoftext|>"


def test_what_is_too_long_is_cut_and_a_question_that_fills_all_is_left_out(chatty: PreTrainedTokenizerBase) -> None:
    rows = as_conversations(pairs(("Why?", "So it is. " * 40), ("Why? " * 60, "So.")))
    (row,) = tokenize_conversations(rows, chatty, 32)
    assert len(row["input_ids"]) == len(row["labels"]) == 32
    assert row["labels"][-1] == row["input_ids"][-1]


def test_a_template_that_writes_the_question_otherwise_is_refused(chatty: PreTrainedTokenizerBase) -> None:
    chatty.chat_template = "{{ messages | length }} {{ messages[0].content }}"
    with pytest.raises(ValueError, match="writes a question otherwise once its answer follows"):
        tokenize_conversations(as_conversations(pairs(("Why?", "So."))), chatty, 64)


def test_losses_by_token_are_those_of_the_score(model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase) -> None:
    rows = tokenize_conversations(as_conversations(pairs(("Why?", "So it is."))), chatty, 64)
    losses = token_losses(model, chatty, **rows[0])
    assert "".join(token.text for token in losses) == chatty.decode(rows[0]["input_ids"])
    counted = [token.loss for token in losses if token.loss is not None]
    assert sum(counted) == pytest.approx(score(model, rows).summed_loss, rel=1e-5)


def test_a_batch_is_answered_as_each_question_alone(model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase) -> None:
    questions = ["Why?", "Why does bread rise, and when?"]
    alone = [answer_questions(model, chatty, [question], max_new_tokens=8)[0] for question in questions]
    assert answer_questions(model, chatty, questions, max_new_tokens=8) == alone
    drawn = [
        answer_questions(model, chatty, questions, max_new_tokens=8, do_sample=True, seed=seed) for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("questions", [[], ["Why?", " "]])
def test_no_question_is_refused(model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase, questions: list[str]) -> None:
    with pytest.raises(ValueError, match="no question, or one that is empty"):
        answer_questions(model, chatty, questions)


def test_a_model_that_continues_texts_is_not_asked(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match=r"tiny_gpt2 has no chat template.*Instruct or Chat"):
        answer_questions(model, tokenizer, ["Why?"])
    with pytest.raises(ValueError, match="has no chat template"):
        tokenize_conversations(as_conversations(pairs(("Why?", "So."))), tokenizer, 64)


def test_numbers_are_text_and_space_is_none() -> None:
    made = as_conversations(Dataset.from_dict({"question": ["7*8?", "1-1?", " "], "answer": [56, 0, 3]}))
    assert [messages[1]["content"] for messages in made["messages"]] == ["56", "0"]
    rows = [{"title": "Why?", "answers": {"text": ["", " So. "]}}, {"title": "How?", "answers": {"text": []}}]
    assert as_conversations(Dataset.from_list(rows))["messages"][0][1]["content"] == "So."


def test_a_template_without_an_end_and_questions_without_room_are_refused(chatty: PreTrainedTokenizerBase) -> None:
    rows = as_conversations(pairs(("Why?", "So.")))
    with pytest.raises(ValueError, match="none of 1 questions leaves room for an answer in 4 tokens"):
        tokenize_conversations(rows, chatty, 4)
    chatty.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    with pytest.raises(ValueError, match="writes no end-of-turn token after an answer"):
        tokenize_conversations(rows, chatty, 64)


def test_one_text_is_no_list_of_questions_and_a_long_one_has_no_room(
    model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(ValueError, match=r"must be a list, not one text: \['Why\?'\]"):
        answer_questions(model, chatty, "Why?")
    with pytest.raises(ValueError, match="shorten the prompt or ask for fewer new tokens"):
        answer_questions(model, chatty, ["Why? " * 300])


def test_the_models_own_beams_and_copies_do_not_change_the_number_of_answers(
    model: GPT2LMHeadModel, chatty: PreTrainedTokenizerBase
) -> None:
    model.generation_config.num_beams, model.generation_config.num_return_sequences = 2, 2
    assert len(answer_questions(model, chatty, ["Why?"], max_new_tokens=4)) == 1


def test_messages_are_conversations_already_but_for_those_that_call_tools() -> None:
    parts = [{"type": "text", "text": "Why"}, {"type": "text", "text": "so?"}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    question, answer = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
    reply = {"role": "assistant", "content": [{"type": "text", "text": "So."}]}
    rows = [
        [question, answer, {"role": "user", "content": "Thanks."}],
        [{"role": "user", "content": parts}, reply],
        [question, call, {"role": "tool", "content": "7"}, answer],
        [question],
        [question, {"role": "assistant", "content": None}],
        [{"role": "user", "content": [{"type": "image", "text": None}]}, reply],
    ]
    made = as_conversations(Dataset.from_list([{"messages": rows[0]}]))
    assert made["messages"][0] == [question, answer]
    made = as_conversations(Dataset.from_list([{"messages": row} for row in (rows[1], rows[5])]))
    assert [messages[0]["content"] for messages in made["messages"]] == ["Why so?"]
    with pytest.raises(ValueError, match="none of 3 rows has messages that are all texts and end with an answer"):
        as_conversations(Dataset.from_list([{"messages": row} for row in rows[2:5]]))
