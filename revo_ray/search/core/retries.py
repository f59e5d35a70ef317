"""The retry rules: an evaluation that lost its worker, or ran out of memory, is made again."""

from __future__ import annotations

from revo_ray.finetune.training.exhausted import Memory
from revo_ray.settings.schema import SearchConfig

MAX_DEATHS = 3
"""Workers that one evaluation may lose before its row says error."""

NAMES: dict[Memory, str] = {"device": "GPU", "machine": "machine"}


class Retries:
    """Counts the workers that each evaluation has lost, and knows those that ran out of memory."""

    def __init__(self) -> None:
        self._causes: dict[int, list[str]] = {}
        self._exhausted: dict[int, Memory | None] = {}

    def lost(self, evaluation: int, cause: str) -> bool:
        """Note a lost worker.

        Returns:
            Whether the evaluation is to be made again.
        """
        causes = self._causes.setdefault(evaluation, [])
        causes.append(cause)
        return len(causes) < MAX_DEATHS

    def exhausted(self, evaluation: int, memory: Memory) -> bool:
        """Note that memory ran out; this kills no worker.

        Returns:
            Whether the evaluation is to be made again, alone: it is so once.
        """
        if evaluation in self._exhausted:
            return False
        self._exhausted[evaluation] = memory
        return True

    def shares(self, evaluation: int) -> None:
        """Let an evaluation share its device again: none becomes free for it alone."""
        self._exhausted[evaluation] = None

    def alone(self, evaluation: int) -> Memory | None:
        """The memory that the evaluation may not share; None if it may share all."""
        return self._exhausted.get(evaluation)

    def trials(self, evaluation: int) -> int:
        """Number of trials of the evaluation that were in vain."""
        return len(self._causes.get(evaluation, ())) + (evaluation in self._exhausted)

    def error(self, evaluation: int) -> str:
        """The error of an evaluation that is given up."""
        causes = self._causes[evaluation]
        return f"lost {len(causes)} times: {causes[-1]}"


def too_little(memory: Memory, alone: bool, config: SearchConfig, error: str) -> str:
    """The error of an evaluation that ran out of memory twice, with the keys to lower.

    Args:
        memory: the memory that ran out the second time.
        alone: whether nothing else used it then.
        error: the second error.
    """
    train, name = config.train, NAMES[memory]
    keys = [f"train.batch_size ({train.batch_size})", f"data.image_size ({config.data.image_size})"]
    if train.cache_mb:
        keys.append(f"train.cache_mb ({train.cache_mb})")
    ways = f"lower {', '.join(keys[:-1])} or {keys[-1]}"
    if memory == "device" and train.precision != "bf16":
        ways += ", or set train.precision to bf16"
    second = f", the second time alone on its {name}" if alone else ""
    return f"ran out of the {name}'s memory twice{second}: {ways} ({error})"


def made_again(memory: Memory, config: SearchConfig) -> str:
    """A line on an evaluation that ran out of memory once, with the key that spares the rest."""
    name, gpus = NAMES[memory], config.resources.gpus_per_trial
    ways = "raise resources.cpus_per_trial, or set resources.max_concurrent"
    if memory == "device":
        shared = gpus != "auto" and 0 < gpus < 1
        ways = f"raise resources.gpus_per_trial ({gpus})" if shared else "lower train.batch_size"
    return (
        f"ran out of the {name}'s memory, and is made again, alone on its {name}; {ways} if more do"
    )
