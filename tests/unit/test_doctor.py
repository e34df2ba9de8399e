"""The doctor fails where a step of the course would, and only there."""

import os
import re
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec

from clmkit import doctor
from clmkit.__main__ import main
from tests.kernels import run


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "hub_problem", lambda: "it does not answer")


def levels() -> dict[str, str]:
    return {finding.what: finding.level for finding in doctor.examine()}


def test_a_machine_that_can_run_the_quick_track_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in lines[:-1]] == [
        "Python",
        "Packages",
        "Kernel python3",
        "Kernel clmkit-keras",
        "Tokenizing",
        "GPU",
        "Free disk",
        "Cache",
        "Bundled files",
        "Hub",
        "Login",
    ]


def test_no_hub_fails_the_full_track_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels()["Hub"] == "note"
    monkeypatch.setenv("CLMKIT_TRACK", "full")
    assert levels()["Hub"] == "FAIL"


def test_a_full_disk_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10, 10, 1e8))
    assert main(["doctor"]) == 1
    assert "0.1 GB, and the quick track needs 0.5: make room" in capsys.readouterr().out


def test_missing_bundled_files_fail_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "BUNDLED", tmp_path)
    finding = next(finding for finding in doctor.examine() if finding.what == "Bundled files")
    assert finding.level == "FAIL"
    assert "tiny_gpt2/model.safetensors" in finding.detail


@pytest.mark.parametrize(
    ("line", "level", "detail"),
    [
        ("no-such-package==1.0", "FAIL", "not installed: no-such-package==1.0; install requirements/main.txt again"),
        ("pytest==1.0", "note", f"not the versions in brackets: pytest {pytest.__version__} (==1.0)"),
        ("no-such-package==1.0 ; sys_platform == 'nowhere'", "ok", "0 as in"),
        ("no-such-package==1.0 \\\n    --hash=sha256:00", "FAIL", "not installed: no-such-package==1.0; install"),
    ],
)
def test_packages_are_held_against_the_lock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, level: str, detail: str
) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "main.txt").write_text(line + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    finding = next(finding for finding in doctor.examine() if finding.what == "Packages")
    assert finding.level == level
    assert detail in finding.detail


@pytest.mark.parametrize(("problem", "level"), [(None, "ok"), ("gigatoken is not installed", "note")])
def test_what_tokenizes_is_said(problem: str | None, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "gigatoken_problem", lambda: problem)
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda package: "0.10.0")
    finding = doctor._tokenizing()
    assert finding.level == level
    assert (problem or "by gigatoken 0.10.0") in finding.detail


def test_torch_is_held_against_its_own_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "main.txt").write_text("pytest>=1 \\\n    --hash=sha256:00\n", encoding="utf-8")
    (tmp_path / "requirements" / "torch.txt").write_text("# Why.\ntorch==1.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    finding = next(finding for finding in doctor.examine() if finding.what == "Packages")
    assert finding.level == "note"
    assert re.search(r"torch 2\S+ \(==1.0\); install requirements/main.txt again", finding.detail)


def test_a_python_that_is_too_old_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 2, "final", 0))
    assert levels()["Python"] == "FAIL"


def test_a_missing_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: {})
    found = levels()
    assert found["Kernel python3"] == "FAIL"
    assert found["Kernel clmkit-keras"] == "note"


def test_a_keras_kernel_whose_python_is_gone_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {"python3": "", "clmkit-keras": ""}
    gone = KernelSpec(argv=["/nowhere/python"])
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: specs)
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", lambda self, name: gone)
    assert levels()["Kernel clmkit-keras"] == "FAIL"


def test_the_keras_kernel_is_said_to_be_frozen_and_without_security_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {"python3": "", "clmkit-keras": ""}
    here = KernelSpec(argv=[sys.executable])
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: specs)
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.get_kernel_spec", lambda self, name: here)
    (finding,) = [finding for finding in doctor.examine() if finding.what == "Kernel clmkit-keras"]
    assert "frozen at transformers 4.52.4, which gets no security fixes" in finding.detail


def test_a_console_without_the_letters_of_a_message_shows_something_in_their_place() -> None:
    done = run(sys.executable, "-m", "clmkit", "doctor", PYTHONIOENCODING="cp1252", PYTHONUTF8="0", CLMKIT_LANG="ar")
    assert "UnicodeEncodeError" not in done.stderr
    assert "???" in done.stdout


@pytest.mark.parametrize("name", ["HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE"])
def test_a_cache_that_cannot_be_written_fails_and_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, str(tmp_path / "file" / "home"))
    monkeypatch.setattr(doctor, name, str(tmp_path / "file" / "home"))
    assert main(["doctor"]) == 1
    assert re.search(f"FAIL  Cache: .*Not a directory.*set {name} ", capsys.readouterr().out)


def test_the_doctor_ends_where_nobody_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Finding("ok", "Python", "3")]))
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["doctor"]) == 1
        pipe.write("and no error at the end")
        monkeypatch.undo()


def test_a_variable_that_is_wrong_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLMKIT_LANG", "xx")
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "doctor: CLMKIT_LANG is 'xx': clmkit speaks en, ar\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a process is in")
@pytest.mark.parametrize("command", ["doctor", "train"])
def test_a_removed_working_folder_is_one_sentence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main([command]) == 1
    assert capsys.readouterr().err == "the working folder was removed: change to another one (cd)\n"
