"""The course runner: it executes in order, shows what was found, and stops at what fails."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.waiting import wait_for
from tools.course import NotebookResult, format_table, main, run_course

ROOT = Path(__file__).parents[2]
SLEEP = "import time; time.sleep(500)"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


def write_notebook(path: Path, *sources: str, kernel: str | None = None) -> None:
    cells = [new_markdown_cell("# A title"), *(new_code_cell(source) for source in sources)]
    cells[-1].metadata["tags"] = ["result"]
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel}} if kernel else {}
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)


def test_notebooks_run_in_order_in_one_folder_and_leave_pages(tmp_path: Path) -> None:
    source, output = tmp_path / "notebooks", tmp_path / "build"
    source.mkdir()
    write_notebook(source / "02_second.ipynb", "print(open('made_by_first').read())")
    write_notebook(source / "01_first.ipynb", "open('made_by_first', 'w').write('<found>')", "print('made it')")
    results = run_course(source, output)
    assert [(result.name, result.showed) for result in results] == [("01_first", "made it"), ("02_second", "<found>")]
    assert nbformat.read(output / "01_first.ipynb", as_version=4).cells[1].execution_count == 1
    assert "made it" in (output / "01_first.html").read_text(encoding="utf-8")
    index = (output / "index.html").read_text(encoding="utf-8")
    assert '<a href="02_second.html">' in index
    assert "&lt;found&gt;" in index
    assert nbformat.read(source / "01_first.ipynb", as_version=4).cells[1].execution_count is None


def test_arabic_notebooks_run_where_arabic_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notebooks" / "ar").mkdir(parents=True)
    write_notebook(tmp_path / "notebooks" / "01_english.ipynb", "1 / 0")
    write_notebook(tmp_path / "notebooks" / "ar" / "01_arabic.ipynb", "print('made it')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLMKIT_LANG", "ar")
    assert main(["--output", "build"]) == 0
    assert "made it" in capsys.readouterr().out
    index = (tmp_path / "build" / "index.html").read_text(encoding="utf-8")
    assert '<html lang="ar" dir="rtl">' in index
    assert "النمذجة اللغوية السببية" in index


TOGETHER = """
import time
from pathlib import Path

Path("{mine}").touch()
end = time.monotonic() + 60
while not Path("{other}").exists():
    assert time.monotonic() < end, "no other notebook has run meanwhile"
    time.sleep(0.1)
print("met")
"""


def test_two_at_a_time_meet_and_what_reads_a_tuned_model_waits_for_all_of_them(tmp_path: Path) -> None:
    write_notebook(tmp_path / "05_chunk.ipynb", TOGETHER.format(mine="five", other="six"))
    write_notebook(tmp_path / "06a_train_pytorch.ipynb", TOGETHER.format(mine="six", other="five"))
    write_notebook(tmp_path / "06b_train_keras.ipynb", "import time", "time.sleep(2)", "open('tuned', 'w').close()")
    write_notebook(tmp_path / "07a_infer_pytorch.ipynb", "print(open('tuned').read() + 'found')")
    write_notebook(tmp_path / "09_todays_models.ipynb", "print('not left waiting')")
    results = run_course(tmp_path, tmp_path / "build", jobs=2)
    assert [result.showed for result in results] == ["met", "met", "", "found", "not left waiting"]
    index = (tmp_path / "build" / "index.html").read_text(encoding="utf-8")
    assert index.index("06b_train_keras.html") < index.index("07a_infer_pytorch.html") < index.index("09_todays")


def test_what_runs_beside_a_failing_notebook_is_ended_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(tmp_path / "01_broken.ipynb", "import time; time.sleep(2)", "1 / 0")
    write_notebook(tmp_path / "02_long.ipynb", "print('begun')", SLEEP)
    write_notebook(tmp_path / "03_never.ipynb", "print('never')")
    assert main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "build"), "--jobs", "2"]) == 1
    assert "01_broken.ipynb failed in cell 3 of 3" in capsys.readouterr().err
    assert "begun" in (tmp_path / "build" / "02_long.ipynb").read_text(encoding="utf-8")
    assert not (tmp_path / "build" / "03_never.ipynb").exists()


def test_ctrl_c_ends_the_kernels_and_says_where_the_rest_is(tmp_path: Path) -> None:
    for name in ("01_long", "02_long"):
        write_notebook(tmp_path / f"{name}.ipynb", f"open('{name}', 'w').write(str(__import__('os').getpid()))", SLEEP)
    words = ["-m", "tools.course", "--notebooks", str(tmp_path), "--output", str(tmp_path / "build"), "--jobs", "2"]
    course = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    begun = [tmp_path / "build" / name for name in ("01_long", "02_long")]
    assert wait_for(lambda: all(file.is_file() and file.read_text() for file in begun), 120)
    course.send_signal(signal.SIGINT)
    printed, errors = course.communicate(timeout=60)
    assert (course.returncode, errors) == (130, "")
    assert f"Interrupted. What was executed until then is in {tmp_path / 'build'}." in printed
    assert not [file for file in begun if Path("/proc", file.read_text()).exists()]


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_no_jobs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], jobs: str) -> None:
    assert main(["--notebooks", str(tmp_path), "--jobs", jobs]) == 1
    assert "jobs" in capsys.readouterr().err


def test_what_several_processes_print_in_pieces_is_one_output(tmp_path: Path) -> None:
    code = "import time\nfor part in ('one', ' and two'):\n    print(part, end='', flush=True)\n    time.sleep(1)"
    write_notebook(tmp_path / "01.ipynb", code)
    run_course(tmp_path, tmp_path / "build")
    (output,) = nbformat.read(tmp_path / "build" / "01.ipynb", as_version=4).cells[1].outputs
    assert output.text == "one and two"


def test_no_keras_leaves_out_the_notebooks_of_that_kernel(tmp_path: Path) -> None:
    write_notebook(tmp_path / "01_main.ipynb", "print('on python3')")
    write_notebook(tmp_path / "02_keras.ipynb", "print('elsewhere')", kernel="clmkit-keras")
    results = run_course(tmp_path, tmp_path / "build", keras=False)
    assert [result.name for result in results] == ["01_main"]


def test_a_kernel_that_is_not_there_is_named_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(tmp_path / "01_main.ipynb", "print('never')")
    write_notebook(tmp_path / "02_other.ipynb", "print('never')", kernel="no-such-kernel")
    assert main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "build")]) == 1
    assert "no kernel no-such-kernel: make setup" in capsys.readouterr().err
    assert not (tmp_path / "build").exists()


def test_a_failing_notebook_stops_the_run_with_its_name_cell_and_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_notebook(tmp_path / "01_broken.ipynb", "ready = True", "raise ValueError('no blocks left')")
    write_notebook(tmp_path / "02_never.ipynb", "print('never')")
    status = main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "build"), "--jobs", "1"])
    error = capsys.readouterr().err
    assert status == 1
    assert "01_broken.ipynb failed in cell 3 of 3" in error
    assert "ValueError: no blocks left" in error
    assert (tmp_path / "build" / "01_broken.ipynb").is_file()
    assert not (tmp_path / "build" / "02_never.ipynb").exists()


def test_the_failing_cell_is_named_in_a_notebook_that_holds_an_earlier_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "01_stale.ipynb"
    write_notebook(path, "raise ValueError('at once')", "print('not reached')")
    notebook = nbformat.read(path, as_version=4)
    for count, cell in enumerate(notebook.cells[1:], start=1):
        cell.execution_count = count
        cell.outputs = [nbformat.v4.new_output("stream", text="stale")]
    nbformat.write(notebook, path)
    assert main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "build")]) == 1
    assert "01_stale.ipynb failed in cell 2 of 3" in capsys.readouterr().err
    assert "stale" not in (tmp_path / "build" / "01_stale.ipynb").read_text(encoding="utf-8")


def test_a_folder_without_notebooks_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--notebooks", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_the_table_has_a_line_for_each_thing_shown_and_a_sum() -> None:
    table = format_table(
        [NotebookResult("05_chunk", 4.4, "603 blocks\n12 left"), NotebookResult("06a", 31.0, "")], 33.3
    )
    assert table.splitlines() == [
        "05_chunk      4 s  603 blocks",
        "                   12 left",
        "06a          31 s  ",
        "all          33 s",
    ]
