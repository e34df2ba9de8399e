"""Questions and answers as conversations: the loss on the answers alone, and models that are asked.

The guide has no such step; today's models are tuned so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from clmkit.evaluation import WORD_START, evaluation_mode, special_ids
from clmkit.prompts import check_room, continue_prompts
from clmkit.texts import calls_tool, text_of
from clmkit.tracks import check_whole_number

NOT_COUNTED = -100  # as a label: PyTorch's cross_entropy passes it over
ONE_ANSWER = {"num_return_sequences": 1, "return_dict_in_generate": False}


def as_conversations(rows: Dataset) -> Dataset:
    """Make a conversation of every row that has a question and an answer; other rows are left out.

    Args:
        rows: With the columns ``question`` and ``answer``; or as ELI5 has them: ``title``, and ``answers`` whose first
            text is taken, which may be an object of lists, a list of objects, or texts; or with conversations already,
            in ``messages``. Of those, what follows the last answer is cut off, a content may be a list of parts that
            are all texts, and a row in which a tool is called, or a message has no text, is left out: an answer that
            took a tool can't be learned without it.

    Returns:
        One column, ``messages``: lists of ``role`` (``"user"``, then ``"assistant"``) and ``content``.

    Raises:
        ValueError: If the columns are others, or no row has both.
    """
    columns, wanted = set(rows.column_names), "both a question and an answer"
    if {"question", "answer"} <= columns:
        found = [_messages(row["question"], [row["answer"]]) for row in rows.select_columns(["question", "answer"])]
    elif {"title", "answers"} <= columns:
        found = [_messages(row["title"], _answers(row["answers"])) for row in rows]
    elif "messages" in columns:
        found = list(map(_plain_messages, rows["messages"]))
        wanted = "messages that are all texts and end with an answer"
    else:
        raise ValueError(
            f"no questions and answers: the columns are {', '.join(rows.column_names)}, and have to be question and "
            "answer, or ELI5's title and answers, or messages"
        )
    if not any(found):
        raise ValueError(f"none of {len(rows)} rows has {wanted}")
    return Dataset.from_list([{"messages": messages} for messages in found if messages])


def _plain_messages(messages: Any) -> list[dict[str, str]]:
    """Role and content of messages up to the last answer; none if no question is answered, or one is no text."""
    plain: list[dict[str, str]] = []
    for message in messages or []:
        role, content = message.get("role"), text_of(message.get("content"))
        if not isinstance(role, str) or not isinstance(content, str) or not content.strip():
            return []
        if role == "tool" or calls_tool({**message, "content": None}):
            return []
        plain.append({"role": role, "content": content})
    while plain and plain[-1]["role"] != "assistant":
        plain.pop()
    return plain if any(message["role"] == "user" for message in plain) else []


def _text(cell: Any) -> str:
    """What a cell says, without space around it; a number is text too, and nothing is none."""
    return "" if cell is None else str(cell).strip()


def _answers(answers: Any) -> list[Any]:
    """The texts of a row's answers."""
    found = answers.get("text") if isinstance(answers, dict) else answers
    found = found if isinstance(found, list) else [found]
    return [one.get("text") if isinstance(one, dict) else one for one in found]


def _messages(question: Any, answers: Sequence[Any] | None) -> list[dict[str, str]]:
    """A question and the first of its answers that says something; none if the question or every answer is empty."""
    asked, answer = _text(question), next(filter(None, map(_text, answers or [])), "")
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}] if asked and answer else []


def check_chat_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a ValueError unless a tokenizer knows how its model's conversations are written."""
    if not tokenizer.chat_template:
        raise ValueError(
            f"{tokenizer.name_or_path} has no chat template: it continues texts, and was not trained to answer. Take "
            "a model with Instruct or Chat in its name"
        )


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> list[int]:
    """The tokens of a conversation, up to where the answer begins if it lacks one."""
    apply: Any = tokenizer.apply_chat_template  # its type is of all that it can return
    ids: list[int] = apply(messages, add_generation_prompt=messages[-1]["role"] == "user", return_dict=False)
    return ids


def tokenize_conversations(conversations: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Write conversations as the model's chat template has them, and tokenize them with labels for the answers alone.

    Args:
        conversations: As ``as_conversations`` gives them; the last message is the answer.
        tokenizer: One with a chat template.
        max_length: In tokens; what is longer is cut at its end.

    Returns:
        ``input_ids`` and ``labels`` (int64), of as many tokens as each conversation has; a label is -100 for each token
        that is not the answer's, and the end-of-turn token is the answer's. Conversations whose question alone fills
        ``max_length`` are left out.

    Raises:
        ValueError: If there is no chat template, it writes a question otherwise once its answer follows, or no end of
            turn after it, or no question leaves room for an answer.
    """
    check_chat_template(tokenizer)
    special, rows = special_ids(tokenizer), []
    for messages in conversations["messages"]:
        prompt, ids = _render(tokenizer, messages[:-1]), _render(tokenizer, messages)
        if ids[: len(prompt)] != prompt:
            raise ValueError(
                "the chat template writes a question otherwise once its answer follows: no labels are sure"
            )
        ends = [place for place, token in enumerate(ids) if token in special and place >= len(prompt)]
        if not ends:
            raise ValueError(
                "the chat template writes no end-of-turn token after an answer: a model could not learn to end"
            )
        ids = ids[: ends[-1] + 1]  # what the template writes after it, no model ever has to
        if len(prompt) < max_length:
            labels = [NOT_COUNTED] * len(prompt) + ids[len(prompt) :]
            rows.append({"input_ids": ids[:max_length], "labels": labels[:max_length]})
    if not rows:
        raise ValueError(f"none of {len(conversations)} questions leaves room for an answer in {max_length} tokens")
    return Dataset.from_list(rows)


class TokenLoss(NamedTuple):
    """One token of a conversation: its text, and its loss in nats, or ``None`` where it is not counted."""

    text: str
    loss: float | None


def token_losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, input_ids: Sequence[int], labels: Sequence[int]
) -> list[TokenLoss]:
    """The loss of each token of one conversation, given all before it."""
    ids = torch.tensor([list(input_ids)], device=model.device)
    with evaluation_mode(model):
        logits = model(input_ids=ids).logits[0, :-1].float()
    losses = [0.0, *torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").tolist()]
    # Alone, a token of SentencePiece is decoded without the space that it stands for.
    pieces = tokenizer.convert_ids_to_tokens(list(input_ids))
    texts = [str(tokenizer.decode([token])) for token in input_ids]
    texts = [
        f" {text.lstrip()}" if piece.startswith(WORD_START) else text for text, piece in zip(texts, pieces, strict=True)
    ]
    return [
        TokenLoss(text, None if label == NOT_COUNTED else loss)
        for text, loss, label in zip(texts, losses, labels, strict=True)
    ]


def answer_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[str],
    *,
    max_new_tokens: int = 100,
    seed: int = 42,
    **arguments: Any,
) -> list[str]:
    """Ask a model questions, all in one batch; each answer ends where the model ends it, or is cut.

    Args:
        model: One that was trained to answer. It is left in the mode, training or not, that it was in.
        tokenizer: Its tokenizer, with a chat template.
        questions: In any language that the model knows.
        max_new_tokens: Where to cut an answer that does not end.
        seed: For sampling; torch's random numbers are what they were, afterwards.
        **arguments: More for ``model.generate``, such as ``do_sample=True``, ``temperature=0.7`` or a streamer. Without
            ``do_sample`` the most probable token is taken each time.

    Returns:
        The answers, without the questions and without special tokens.

    Raises:
        ValueError: If there is no question, one is empty or too long for the context, there is no chat template, or an
            argument asks for more than one answer.
    """
    check_chat_template(tokenizer)
    check_whole_number("max_new_tokens", max_new_tokens)
    if isinstance(questions, str):
        raise ValueError(f"questions must be a list, not one text: [{questions!r}]")
    if not questions or not all(isinstance(question, str) and question.strip() for question in questions):
        raise ValueError("there is no question, or one that is empty: ask at least a word")
    if more := [name for name, one in ONE_ANSWER.items() if arguments.get(name) not in (None, one)]:
        raise ValueError(f"there is one answer to a question, and {' and '.join(more)} asks for more: leave it out")
    documents = [_render(tokenizer, [{"role": "user", "content": question}]) for question in questions]
    check_room(max(map(len, documents)), max_new_tokens, model)
    settings = {"batch_size": len(documents), "seed": seed, "do_sample": False, **arguments}
    added = continue_prompts(model, tokenizer, documents, max_new_tokens, **settings)
    answers: list[str] = tokenizer.batch_decode(added, skip_special_tokens=True)
    return [answer.strip() for answer in answers]
