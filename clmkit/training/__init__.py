"""Fine-tune a causal language model: one module for each framework."""
