"""Files are written whole or not at all, into a folder that can be written."""

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import evaluate
import pytest

from clmkit import files, saving
from clmkit.evaluation import TokenAccuracy
from clmkit.files import load_local
from clmkit.saving import check_cache, check_output_dir, work_in_drive, write_whole


def test_check_output_dir_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    folder = check_output_dir(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []
    assert check_output_dir(str(folder)) == folder


def test_check_output_dir_leaves_what_is_in_the_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("x")
    check_output_dir(tmp_path)
    assert (tmp_path / "kept").read_text() == "x"


def test_files_are_put_in_place_when_all_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "kept").write_text("kept")
    with write_whole(tmp_path) as unfinished:
        assert list(unfinished.iterdir()) == []
        (unfinished / "a").write_text("new a")
        (unfinished / "b").write_text("new b")
        assert (tmp_path / "a").read_text() == "old a"
    contents = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert contents == {"a": "new a", "b": "new b", "kept": "kept"}


def test_a_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")

    def fail() -> None:
        with write_whole(tmp_path) as unfinished:
            (unfinished / "a").write_text("half")
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old a"}


def test_write_whole_makes_the_folder(tmp_path: Path) -> None:
    with write_whole(str(tmp_path / "a" / "b")) as unfinished:
        (unfinished / "c").write_text("")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_in_colab_the_working_folder_can_be_one_of_google_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saving, "DRIVE", str(tmp_path / "drive"))
    mounted: list[str] = []
    monkeypatch.setitem(sys.modules, "google.colab.drive", SimpleNamespace(mount=mounted.append))
    work_in_drive(False)
    assert (Path.cwd(), mounted) == (tmp_path, [])
    work_in_drive(True)
    assert Path.cwd() == tmp_path / "drive" / "MyDrive" / "causal-lm-course"
    assert mounted == [saving.DRIVE]


def test_elsewhere_there_is_no_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    work_in_drive(False)
    with pytest.raises(RuntimeError, match="in Colab alone"):
        work_in_drive(True)
    assert Path.cwd() == tmp_path


def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_cache(tmp_path / "new" / "cache")
    assert list((tmp_path / "new" / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    said = r"the cache '.*file/cache' can't be written \(Not a directory\): set HF_HOME"
    with pytest.raises(OSError, match=said):
        check_cache(tmp_path / "file" / "cache")
    with monkeypatch.context() as context:
        context.setenv("HF_DATASETS_CACHE", str(tmp_path / "file"))
        with pytest.raises(OSError, match="set HF_DATASETS_CACHE to a folder that can be"):
            check_cache(tmp_path / "file" / "cache")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "file" / "cache")
    with pytest.raises(OSError, match=said):
        TokenAccuracy()
    monkeypatch.setattr(files, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    monkeypatch.setattr(files, "load_dataset", unwritable)
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(OSError, match=said):
        load_local(tmp_path / "rows.jsonl")


def unwritable(*arguments: object, **options: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", "cache")
