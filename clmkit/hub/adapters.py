"""Adapters that PEFT saved, on the Hub or in a folder."""

from pathlib import Path

from clmkit.hub.download import download

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def download_adapter(name: str) -> Path:
    """Get an adapter that PEFT saved, for ``load_adapter``.

    Args:
        name: A folder, or a repository on the Hub.

    Returns:
        The adapter's folder.

    Raises:
        FileNotFoundError: If a folder lacks a file.
        PermissionError: As ``download``.
        ConnectionError: As ``download``, also if the repository holds no adapter.
        OSError: As ``download``.
    """
    if not Path(name).is_dir():
        return download(name, (*ADAPTER_FILES, "README.md"), required=ADAPTER_FILES)
    if missing := [file for file in ADAPTER_FILES if not (Path(name) / file).is_file()]:
        raise FileNotFoundError(f"{name!r} is no whole adapter: there is no {' and no '.join(missing)} in it")
    return Path(name)
