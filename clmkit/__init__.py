"""Helpers of the course "Causal language modeling": one module for each step of the guide.

Importing this package imports none of torch, transformers, tensorflow or datasets; its modules import what they need.
"""

__version__ = "0.1.0"
