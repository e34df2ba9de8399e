"""A stub of the package that every Colab machine has: as much of it as the Hub's clients read."""

from google.colab import errors, userdata

__all__ = ["errors", "userdata"]
