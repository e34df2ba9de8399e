"""Colab's secrets: what the environment has as COLAB_SECRET_NAME, a learner has put in under the key as NAME."""

import os

from google.colab import errors


class SecretNotFoundError(errors.Error):
    pass


class NotebookAccessError(errors.Error):
    pass


def get(key: str) -> str:
    if secret := os.environ.get(f"COLAB_SECRET_{key}"):
        return secret
    raise SecretNotFoundError(key)
