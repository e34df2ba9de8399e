"""The unattended run: one function for a notebook, a command, many GPUs and many machines, which a kill only delays."""
