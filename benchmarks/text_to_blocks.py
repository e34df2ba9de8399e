"""What does it cost to turn answers into blocks, as the guide does it and in each other way?

    .venv/bin/python -m benchmarks.text_to_blocks

Rows are real ELI5 text and the vocabulary is GPT-2's where ``CLMKIT_ELI5_JSON`` and ``CLMKIT_GPT2_VOCAB`` name them,
else the bundled ones. Every contender tokenizes and cuts the same rows, in a process of its own with an empty cache;
the contenders take turns, and medians are printed. Memory counts every process.
"""

import argparse
import lzma
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import QUIET, RESULTS, facts, format_table, medians, take_turns, write_json
from benchmarks.text_to_blocks_contender import CHUNK

HF_ALONE = "clmkit, without gigatoken"
# Who runs on 10 times the rows, repeated and of distinct text; on 100 times only the first.
MANY_ROWS = ("clmkit", HF_ALONE, "chain (run_clm)", "guide")
PROSE = Path(__file__).parents[1] / "tools" / "prose.txt.xz"


def prepare(folder: Path, rows: int, times: int) -> Path:
    """Write a Parquet file with the rows, repeated."""
    import pyarrow as pa
    from pyarrow import parquet

    from clmkit.files import load_local
    from clmkit.tracks import SAMPLE

    source = load_local(os.environ.get("CLMKIT_ELI5_JSON", SAMPLE), rows).with_format("arrow")
    table = source[:]
    table = pa.concat_tables([table] * -(-rows // len(table))).slice(0, rows)
    path = folder / f"rows_{rows}_{times}.parquet"
    with parquet.ParquetWriter(path, table.schema) as writer:
        for _ in range(times):
            writer.write_table(table, row_group_size=1000)
    return path


def prepare_distinct(folder: Path, rows: int) -> Path:
    """Write a Parquet file with rows no two of which are the same: halves of answers, and of the texts in ``PROSE``.

    Repeated rows flatter a tokenizer that keeps the words it has met. Without real ELI5 text there are fewer rows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from clmkit.files import load_local
    from clmkit.tracks import SAMPLE

    answers = load_local(os.environ.get("CLMKIT_ELI5_JSON", SAMPLE))["answers"]
    texts = [text for answer in answers for text in answer["text"]]
    texts += lzma.decompress(PROSE.read_bytes()).decode().splitlines()
    middles = (text.find(" ", len(text) // 2) for text in texts)
    halves = [half for text, middle in zip(texts, middles, strict=True) for half in (text[:middle], text[middle:])]
    distinct = list(dict.fromkeys(half for half in halves if half.strip()))[:rows]
    path = folder / f"distinct_{rows}.parquet"
    table = pa.table({"answers": [{"text": [text]} for text in distinct]})
    parquet.write_table(table, path, row_group_size=1000)
    return path


def contender_command(contender: str, data: Path, vocabulary: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.text_to_blocks_contender", contender, str(data), vocabulary]


def table(found: dict[str, dict[str, float]]) -> str:
    """The medians for one number of rows, the guide's first where it ran."""
    reference = found.get("guide", next(iter(found.values())))
    whole = reference["tokenize_s"] + reference["chunk_s"]
    header = ["", "tokenize, s", "chunk, s", "both, s", "times faster", "again, s", "resident, MB", "anonymous, MB"]
    rows = []
    for contender, one in found.items():
        both = one["tokenize_s"] + one["chunk_s"]
        seconds = [f"{one['tokenize_s']:.2f}", f"{one['chunk_s']:.3f}", f"{both:.2f}", f"{whole / both:.1f}"]
        seconds.append(f"{one['again_s']:.2f}" if "alone" not in contender else "")
        memory = [f"{one['resident_mb']:,.0f}", f"{one['anonymous_mb']:,.0f}"]
        data = [f"{one['lost']:,.0f}", f"{one['written_bytes_per_token']:.1f}"]
        rows.append([contender, *seconds, *memory, *data])
    return format_table([*header, "tokens lost", "bytes/token"], rows)


def tables(result: dict[str, Any]) -> str:
    """All tables, in Markdown."""
    rows, data = result["rows"], result["data"]
    titles = {times: f"{rows * int(times):,} rows of {data}" for times in result["medians"] if times != "distinct"}
    titles["distinct"] = f"{10 * rows:,} rows of distinct text"
    return "\n\n".join(f"**{titles[times]}**\n\n{table(found)}" for times, found in result["medians"].items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--times", type=int, nargs="*", default=[10, 100], help="multiples of the rows to run as well")
    parser.add_argument("--output", type=Path, default=RESULTS / "text_to_blocks.json")
    chosen = parser.parse_args()
    from clmkit.tracks import BUNDLED

    vocabulary = os.environ.get("CLMKIT_GPT2_VOCAB", str(BUNDLED / "tiny_gpt2"))
    result: dict[str, Any] = facts({"main": sys.executable}) | {"rows": chosen.rows, "turns": {}, "medians": {}}
    result["data"] = "real ELI5 text" if "CLMKIT_ELI5_JSON" in os.environ else "the bundled sample"
    with tempfile.TemporaryDirectory() as folder:
        for times in ["1", "distinct", *map(str, chosen.times)]:
            if times == "distinct":
                data = prepare_distinct(Path(folder), 10 * chosen.rows)
            else:
                data = prepare(Path(folder), chosen.rows, int(times))
            contenders = {"1": list(CHUNK), "10": MANY_ROWS, "distinct": MANY_ROWS}.get(times, MANY_ROWS[:1])
            command = partial(contender_command, data=data, vocabulary=vocabulary)
            turns = take_turns(contenders, command, chosen.repeats if times == "1" else 1, QUIET)
            result["turns"][times], result["medians"][times] = turns, medians(turns)
            write_json(chosen.output, result)
    print(tables(result))


if __name__ == "__main__":
    main()
