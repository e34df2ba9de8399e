"""Of Windows and macOS what Linux can tell: other names and paths, another encoding, processes that are no copies.

``tests/training/test_platforms.py`` trains so, and ``tests/hub/test_no_links.py`` has a cache without links.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import multiprocess
import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from clmkit.hub.download import download_model
from clmkit.hub.models import HUB_ID
from clmkit.paths import find_files
from clmkit.scale import checkpoints
from clmkit.tokenization import tokenize
from clmkit.tracks import MODEL_NAME, QUICK
from clmkit.training import tuned_models
from tests.kernels import ROOT, kept_environment

HOUSES = ("clmkit", "tools", "benchmarks", "notebooks", "configs", "requirements", "site", "tests")
CODE = sorted(path for name in ("clmkit", "tools") for path in (ROOT / name).rglob("*.py"))
POSIX_ALONE = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog"}


def problem_on_windows(path: Path) -> str:
    """What keeps a file of this relative path from being on a Windows disk; empty if nothing does."""
    for part in path.parts:
        if bad := set(re.findall(r'[<>:"\\|?*\x00-\x1f]', part)):
            return f"{part!r} has {bad}"
        if part[-1] in ". " or PureWindowsPath(part).is_reserved():
            return f"{part!r} is no name there"
    return "too long" if len(str(path)) > 150 else ""


def test_the_projects_files_can_lie_on_a_windows_disk() -> None:
    skipped = ("__pycache__", ".ipynb_checkpoints")
    files = [path.relative_to(ROOT) for name in HOUSES for path in (ROOT / name).rglob("*")]
    files = [path for path in files if not set(path.parts) & set(skipped)]
    assert not [found for path in files if (found := problem_on_windows(path))]
    assert len({str(path).lower() for path in files}) == len(files), "two names differ in capitals alone"


@pytest.mark.parametrize("name", ["a:b", "con.txt", "dots.", "spaces ", "is it?", "x" * 151])
def test_what_windows_takes_for_no_name_is_told(name: str) -> None:
    assert problem_on_windows(Path("folder") / name)
    assert not problem_on_windows(Path("folder/checkpoint-5"))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_that_only_posix_has_is_imported(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & POSIX_ALONE


def test_folders_are_made_of_a_drive_and_backslashes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tuned_models, checkpoints):
        monkeypatch.setattr(module, "Path", PureWindowsPath)
    track = replace(QUICK, output_dir=r"D:\runs\mine")
    assert str(tuned_models.model_folder(track)) == r"D:\runs\mine"
    assert str(tuned_models.model_folder(track, "keras_hub")) == r"D:\runs\keras_hub\mine"
    assert str(tuned_models.model_folder(QUICK, "tf_keras")) == rf"quick\tf_keras\{MODEL_NAME}"
    assert str(checkpoints.checkpoint_folder(r"D:\runs\mine", 5)) == r"D:\runs\mine\checkpoint-5"


@pytest.mark.parametrize("path", [r"C:\data\mine", r"mine\data", "C:mine", "D:/mine", r"\\server\share\mine"])
def test_a_path_of_windows_is_no_name_on_the_hub(path: str) -> None:
    assert not HUB_ID.fullmatch(path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"data file {path + '.csv'!r} is not there")):
        find_files(path + ".csv")
    with pytest.raises(FileNotFoundError, match=re.escape(f"model folder {path!r} is not there")):  # and no request
        download_model(path)


@pytest.fixture
def _spawn() -> Iterator[None]:
    """As on Windows and macOS, a process of ``datasets`` begins empty."""
    multiprocess.set_start_method("spawn", force=True)
    yield
    multiprocess.set_start_method(None, force=True)


@pytest.mark.usefixtures("_spawn")
def test_processes_that_begin_empty_tokenize_the_same(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = Dataset.from_dict({"text": ["One.", "Two and three."]})
    assert tokenize(texts, tokenizer, num_proc=2).to_list() == tokenize(texts, tokenizer).to_list()


IN_ASCII = r"""
import locale, sys
from clmkit.__main__ import main
assert locale.getencoding() == "ANSI_X3.4-1968", "every file that is read without an encoding has to fail"
assert sys.stdout.encoding == "cp1252"
words = "train --track quick --language ar --rows 12 --max_steps 1 --block_size 32 --use_cpu true"
statuses = [main(["doctor"]), main([*words.split(), "--output_dir", sys.argv[1]])]
prompt = "\u0627\u0644\u0633\u0645\u0627\u0621"
statuses += [main(["generate", sys.argv[1], "--prompt", prompt, "--max_new_tokens", "4"])]
assert statuses == [0, 0, 0], statuses
"""


def test_nothing_depends_on_the_default_encoding(tmp_path: Path) -> None:
    # Linux has none of Windows' code pages to be the default; ASCII, which refuses what they would misread, stands in.
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "cp1252"}
    environment = kept_environment() | ascii_alone | {"CLMKIT_LANG": "ar"}
    command = [sys.executable, "-X", "warn_default_encoding", "-c", IN_ASCII, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="cp1252", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.findall(r"clmkit\S+: EncodingWarning", done.stderr)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert re.search("[\u0620-\u064a]{3}", card)
