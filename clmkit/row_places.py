"""Which row of which file a row was, before rows were joined, split, shuffled or selected."""

from collections.abc import Mapping

from datasets import Dataset, IterableDataset


def note_files(dataset: Dataset, rows: Mapping[str, int]) -> None:
    """Note how many rows come from which file, so that ``join_answers`` can name a row of a file.

    Args:
        dataset: The rows, file by file. The note stands where Datasets has checksums of what it downloads, as that
            place is kept when rows are split, shuffled, selected or flattened.
        rows: Their number, by the file's name.
    """
    dataset.info.download_checksums = {file: {"num_rows": number} for file, number in rows.items()}


def rows_by_file(dataset: Dataset | IterableDataset) -> dict[str, int]:
    """What ``note_files`` noted; empty for rows from elsewhere, and streams, which lose it."""
    noted = dataset.info.download_checksums or {}
    return {file: note["num_rows"] for file, note in noted.items() if "num_rows" in note}


def place_of(dataset: Dataset, row: int) -> str:
    """Which row of which file a row was before rows were split, shuffled or selected, as far as it can be told."""
    indices = dataset._indices  # private to datasets; a test names it
    number = row if indices is None else int(indices.column(0)[row].as_py())
    rows = rows_by_file(dataset)
    if not rows:
        return f"row {number}"
    if sum(rows.values()) != dataset.data.num_rows:  # a part of the table, or a new one: its rows have other numbers
        return f"{', '.join(rows)}: row {row} of the {len(dataset):,} that were given"
    for file, count in rows.items():
        if number < count:
            return f"{file}, row {number}"
        number -= count
    raise AssertionError
