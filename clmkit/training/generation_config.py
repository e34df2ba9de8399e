"""What a model's generation config has to be before training: one that can be saved after it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GenerationConfig  # TensorFlow has to start before it, where that trains

WHEN_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
WITH_BEAMS = ("early_stopping", "length_penalty")
WITH_A_CACHE = ("cache_implementation", "cache_config")


def make_savable(config: "GenerationConfig") -> None:
    """Take out of a generation config what has no effect beside the rest, for which Transformers would not save it.

    Args:
        config: Is changed. It loses sampling arguments without ``do_sample``, those of beams without beams, outputs
            without the dictionary that holds them, a cache's without a cache, more texts than its search gives, and a
            negative ``pad_token_id``.

    Raises:
        ValueError: If it could not be saved even so.
    """
    beams = config.num_beams or 1
    texts = config.num_return_sequences or 1
    idle = [] if config.do_sample else list(WHEN_SAMPLING)
    idle += WITH_BEAMS if beams == 1 else ()
    idle += () if config.return_dict_in_generate else config.extra_output_flags
    idle += WITH_A_CACHE if config.use_cache is False else ()
    idle += ["num_return_sequences"] if texts > (beams if beams > 1 or not config.do_sample else texts) else []
    idle += ["pad_token_id"] if (config.pad_token_id or 0) < 0 else []
    plain = type(config)()
    for name in idle:
        if hasattr(plain, name):
            setattr(config, name, getattr(plain, name))
    try:
        config.validate(strict=True)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the model's generation config could not be saved after training ({reason}): mend it in "
            "generation_config.json or model.generation_config first"
        ) from error
