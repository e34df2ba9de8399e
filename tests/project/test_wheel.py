"""The wheel holds all that the quick track takes.

tests/notebooks runs every notebook on it on the quick track, tests/hub/test_full_track.py alone on the full one.
"""

import zipfile
from pathlib import Path


def test_the_wheel_holds_the_sample_the_model_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("eli5_sample.jsonl", "README.md", "tiny_gpt2/model.safetensors", "tiny_gpt2/merges.txt"):
        assert f"clmkit/bundled/{wanted}" in names
    for wanted in ("eli5_sample_ar.jsonl", "arabic_prose.txt"):
        assert f"clmkit/bundled/{wanted}" in names
    assert "clmkit/locale/ar/LC_MESSAGES/clmkit.mo" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "notebooks"))]
