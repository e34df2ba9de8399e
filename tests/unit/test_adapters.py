"""An adapter is taken from its folder as it is; the table of faults gets one from the Hub."""

from pathlib import Path

import pytest

from clmkit.hub.adapters import ADAPTER_FILES, download_adapter


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ADAPTER_FILES:
        (tmp_path / name).touch()
    assert download_adapter(str(tmp_path)) == tmp_path


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(FileNotFoundError, match=r"is no whole adapter: there is no adapter_model\.safetensors in it"):
        download_adapter(str(tmp_path))
