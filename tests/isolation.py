"""Keep every test off the network and out of the person's own caches and settings, on both kernels."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Where `make real-model` puts the real model, before the cache is another one.
_HOME = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
os.environ.setdefault("CLMKIT_REAL_MODEL", str(Path(_HOME, "clmkit", "SmolLM2-135M-Instruct").expanduser()))

# datasets, huggingface_hub and both Kerases read these when they are imported: import this module before them.
CACHE = Path(tempfile.mkdtemp(prefix="clmkit-tests-"))
os.environ |= {
    "HF_HOME": str(CACHE),
    "KERAS_HOME": str(CACHE / "keras"),
    "HF_ENDPOINT": "http://127.0.0.1:9",  # the discard port: nothing can leave this machine
    "CLMKIT_WIDGETS": "0",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
}
CACHE_VARIABLES = ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_EVALUATE_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE")
CACHE_VARIABLES += ("HF_DATASETS_OFFLINE", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN", "CLMKIT_TRACK", "CLMKIT_SHARE")
CACHE_VARIABLES += ("CLMKIT_LANG",)
for variable in CACHE_VARIABLES:
    os.environ.pop(variable, None)


@pytest.fixture(scope="session", autouse=True)
def _temporary_cache() -> Iterator[Path]:
    yield CACHE
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_choice_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice in ("CLMKIT_TRACK", "CLMKIT_SHARE", "CLMKIT_LANG", "HF_TOKEN"):
        monkeypatch.delenv(choice, raising=False)
