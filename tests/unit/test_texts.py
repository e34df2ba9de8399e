"""Rows split, their text column found, their answers joined."""

import pytest
from datasets import Dataset, DatasetDict, Features, IterableDataset, List, Value

from clmkit.columns import find_text_column
from clmkit.eli5 import ELI5_FEATURES, load_eli5
from clmkit.texts import join_answers, split_rows
from clmkit.tracks import Track
from tests.data import HUB_ROWS, hub_dataset


def test_splitting_and_joining_keep_where_the_rows_came_from(quick: Track) -> None:
    rows = load_eli5(quick)
    joined = join_answers(split_rows(rows), num_proc=2)
    assert {side.info.description for side in (join_answers(rows), *joined.values())} == {rows.info.description}


def test_split_rows_holds_out_a_fifth_and_loses_no_row() -> None:
    split = split_rows(Dataset.from_dict({"id": list(range(50))}))
    assert {side: len(rows) for side, rows in split.items()} == {"train": 40, "test": 10}
    assert sorted(split["train"]["id"][:] + split["test"]["id"][:]) == list(range(50))


def test_split_rows_is_the_same_each_time_and_another_with_another_seed() -> None:
    dataset = Dataset.from_dict({"id": list(range(50))})
    first, again, other = (split_rows(dataset, seed=seed)["test"]["id"][:] for seed in (42, 42, 7))
    assert first == again != other
    assert split_rows(dataset)["test"]["id"][:] == first


@pytest.mark.parametrize(("rows", "test_size", "held_out"), [(2, 0.5, 1), (5000, 0.2, 1000), (9, 0.2, 2), (3, 0.7, 2)])
def test_split_rows_rounds_the_share_to_whole_rows(rows: int, test_size: float, held_out: int) -> None:
    assert len(split_rows(Dataset.from_dict({"id": list(range(rows))}), test_size)["test"]) == held_out


@pytest.mark.parametrize("test_size", [0, 1, -0.5, 2, 0.01, float("inf"), float("nan")])
def test_split_rows_refuses_to_leave_a_side_empty(test_size: float) -> None:
    with pytest.raises(ValueError, match=rf"10 rows with test_size={test_size} leave .* both need at least 1"):
        split_rows(Dataset.from_dict({"id": list(range(10))}), test_size)


@pytest.mark.parametrize(
    ("features", "column"),
    [
        (ELI5_FEATURES, "answers.text"),
        (ELI5_FEATURES.flatten(), "answers.text"),
        (Features({"answers.text": List(Value("string")), "text": Value("string")}), "answers.text"),
        (Features({"title": Value("string"), "text": Value("string")}), "text"),
        (Features({"answers": List(Value("string")), "text": Value("string")}), "text"),
    ],
)
def test_find_text_column_prefers_the_answers_nested_or_flattened(features: Features, column: str) -> None:
    assert find_text_column(features) == column


def test_find_text_column_names_the_columns_there_are() -> None:
    with pytest.raises(ValueError, match=r"found 'body', 'id'\. Name yours"):
        find_text_column(Features({"body": Value("string"), "id": Value("int64")}))


def test_join_answers_joins_by_a_space_as_the_guide_does() -> None:
    flat = hub_dataset().flatten()
    joined = join_answers(hub_dataset())
    assert joined["text"][:] == [" ".join(answers) for answers in flat["answers.text"]]
    assert joined.features == Features({"text": Value("string")})
    assert join_answers(flat).to_list() == joined.to_list()


def test_join_answers_takes_a_column_by_name_nested_too() -> None:
    assert join_answers(hub_dataset(), "title")["text"][:2] == ["Why 0?", "Why 1?"]
    assert join_answers(hub_dataset(), "answers.a_id")["text"][:2] == ["a0 b0", "a1 b1"]


def test_join_answers_names_the_columns_where_the_one_asked_for_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no column 'body': there are 'q_id', 'title'.*'answers.text'"):
        join_answers(hub_dataset(), "body")


def test_join_answers_of_a_dataset_dict_gives_one() -> None:
    split = DatasetDict(train=hub_dataset().select([0, 1]), test=hub_dataset().select([2]))
    joined = join_answers(split)
    assert isinstance(joined, DatasetDict)
    assert joined["test"]["text"][:] == ["Because 2. For another reason."]
    assert len(joined["train"]) == 2


def test_join_answers_in_two_processes_gives_the_same() -> None:
    assert join_answers(hub_dataset(), num_proc=2).to_list() == join_answers(hub_dataset()).to_list()


def test_join_answers_takes_large_strings() -> None:
    rows = Dataset.from_dict({"text": ["a", "b"]}, features=Features({"text": Value("large_string")}))
    assert join_answers(rows)["text"][:] == ["a", "b"]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_join_answers_numbers_the_row_that_is_bad(num_proc: int | None) -> None:
    texts = [f"fine {number}" for number in range(1500)]
    texts[1234] = "  "
    with pytest.raises(ValueError, match=r"row 1234, answer 1 of 'text' is empty"):
        join_answers(Dataset.from_dict({"text": texts}), num_proc=num_proc)


def test_a_stream_is_joined_as_stored_rows_are_nested_or_not() -> None:
    stored = Dataset.from_list(HUB_ROWS, features=ELI5_FEATURES)
    texts = join_answers(stored)["text"][:]
    for rows in (stored, stored.flatten(), Dataset.from_dict({"text": texts, "id": range(len(texts))})):
        stream = join_answers(rows.to_iterable_dataset())
        assert isinstance(stream, IterableDataset)
        assert stream.column_names == ["text"]
        assert [row["text"] for row in stream] == texts


def test_a_streams_faults_are_numbered_as_those_of_stored_rows() -> None:
    rows = Dataset.from_dict({"text": ["a", " ", "c"]}).to_iterable_dataset()
    with pytest.raises(ValueError, match=r"row 1, answer 1 of 'text' is empty"):
        list(join_answers(rows))
    with pytest.raises(ValueError, match=r"no column 'answer'"):
        list(join_answers(rows, text_column="answer"))
    with pytest.raises(ValueError, match="no rows: 0 texts"):
        join_answers(rows.take(0))
    rows_of_answers = [{"answers": {"text": ["a"]}}, {"answers": None}]
    for nested in (
        IterableDataset.from_generator(lambda: iter(rows_of_answers)),
        Dataset.from_list(rows_of_answers).to_iterable_dataset(),
    ):
        with pytest.raises(ValueError, match=r"row 1, answer 1 of 'answers.text' is null.* this one is {'answers': "):
            list(join_answers(nested))


def test_an_error_names_the_row_of_the_file_after_a_split() -> None:
    texts: list[str | None] = [f"Row {number}." for number in range(40)]
    texts[17] = None
    rows = split_rows(Dataset.from_dict({"text": texts}))
    assert rows["train"]._indices is not None or rows["test"]._indices is not None  # what it is read from
    with pytest.raises(ValueError, match=r"^row 17, answer 1 of 'text' is null"):
        join_answers(rows)


def test_a_shuffled_stream_is_joined_though_another_column_is_null() -> None:
    rows = Dataset.from_dict({"text": ["a", "b"], "id": [None, "x"]}).to_iterable_dataset()
    assert rows._ex_iterable.iter_arrow is not None  # which is private
    # Datasets 4 would make a table of each row here, in which a null has no type.
    assert sorted(row["text"] for row in join_answers(rows.shuffle(seed=1, buffer_size=2))) == ["a", "b"]


def test_a_stream_does_not_claim_that_its_rows_are_the_files() -> None:
    rows = Dataset.from_dict({"text": ["a", None, "c"]}).to_iterable_dataset().shuffle(seed=1, buffer_size=3)
    with pytest.raises(
        ValueError, match=r"^row \d, answer 1 of 'text' is null.*\(rows are counted as the stream gives"
    ):
        list(join_answers(rows))


def test_answers_are_joined_the_same_from_lists_strings_and_streams() -> None:
    answers = [["One.", "two "], ["\u2003 three\n"], ["\u200b"]]
    nested = Dataset.from_dict({"answers": [{"text": texts} for texts in answers]})
    expected = ["One. two ", "\u2003 three\n", "\u200b"]
    for rows in (nested, nested.with_format("numpy"), nested.to_iterable_dataset(), join_answers(nested)):
        joined = join_answers(rows)
        assert [row["text"] for row in joined] == expected
    assert join_answers(nested.select([2, 0]))["text"][:] == [expected[2], expected[0]]


def test_an_answer_of_any_kind_of_space_is_empty() -> None:
    for sign in filter(str.isspace, map(chr, range(0x110000))):
        with pytest.raises(ValueError, match=r"row 1, answer 2 of 'answers' is empty"):
            join_answers(Dataset.from_dict({"answers": [["a"], ["b", sign * 2]]}), "answers")
