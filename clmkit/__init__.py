"""Helpers of the course "Causal language modeling": one module for each step of the guide.

Importing this package imports none of torch, transformers, tensorflow or datasets; its modules import what they need.
"""

import os

__version__ = "0.1.0"

# PyTorch's threads wait for each other by spinning. Where another program holds one of them up, the others keep the
# cores busy for nothing, and training takes ten times as long (benchmarks/README.md, "A busy machine"). So they spin
# for a moment only; this counts where PyTorch is imported after clmkit, as in the notebooks.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
