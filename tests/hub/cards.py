"""What the Hub says about the metadata at the head of a README.md."""

import re
from typing import Any

import yaml

BLOCK = re.compile(r"^\s*---\r?\n(.*?)\r?\n---\s*(\n|$)", re.DOTALL)
TEXT, LIST, EITHER = "a string", "an array of strings", "a string or an array of strings"
KINDS = {"license": TEXT, "library_name": TEXT, "pipeline_tag": TEXT, "tags": LIST, "datasets": LIST, "metrics": LIST}
KINDS |= {"language": EITHER, "base_model": EITHER}

# A folder's path is no id: what a Trainer that started from a folder writes is refused here.
REPO_ID = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
FORMS = {"language": re.compile("[a-z]+(-[A-Za-z0-9]+)*"), "base_model": REPO_ID, "datasets": REPO_ID}
RESULT = {"task": {"type"}, "dataset": {"type", "name"}}


def read_metadata(readme: str) -> Any:
    """The YAML at the head of a README.md; ``None`` where there is none.

    Raises:
        yaml.YAMLError: If it can't be parsed.
    """
    block = BLOCK.match(readme)
    return yaml.safe_load(block[1]) if block else None


def check_metadata(readme: str) -> list[str]:
    """What the Hub refuses a README.md for: types, the form of ids, and what is missing in model-index."""
    try:
        metadata = read_metadata(readme)
    except yaml.YAMLError as error:
        return [f"YAML can't be parsed: {error}"]
    if not isinstance(metadata, dict | None):
        return ["YAML metadata must be a mapping"]
    errors = []
    for key, kind in KINDS.items():
        value = (metadata or {}).get(key)
        if value is None:
            continue
        fits = (isinstance(value, str) and kind != LIST) or (isinstance(value, list) and kind != TEXT)
        texts = [value] if isinstance(value, str) else value
        if not fits or not all(isinstance(text, str) for text in texts):
            errors.append(f'"{key}" must be {kind}')
        elif key in FORMS:
            errors += [f'"{key}" with value "{text}" is not valid' for text in texts if not FORMS[key].fullmatch(text)]
    return errors + _check_results((metadata or {}).get("model-index") or [])


def _check_results(models: Any) -> list[str]:
    if not isinstance(models, list):
        return ['"model-index" must be an array']
    errors = [f'"model-index[{place}].name" is required' for place, model in enumerate(models) if "name" not in model]
    for result in [result for model in models for result in model.get("results") or []]:
        parts = [("metrics", {"type", "value"}, metric) for metric in result.get("metrics") or [{}]]
        parts += [(part, keys, result.get(part) or {}) for part, keys in RESULT.items()]
        missing = sorted(f"{part}.{key}" for part, keys, given in parts for key in keys - set(given))
        errors += [f'"model-index.results.{what}" is required' for what in missing]
    return errors
