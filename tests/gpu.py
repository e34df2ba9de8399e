"""A GPU as far as PyTorch can be asked about it."""

import pytest
import torch


def imitate_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None) -> None:
    """Let PyTorch see a GPU of a compute capability, or none."""
    native = capability is not None and capability >= (8, 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    # An old GPU emulates bfloat16, and says that it supports it unless it is asked not to count that.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
