"""Randomness as a function of where the run is, so that a resumed run draws what an unbroken one would have drawn.

Nothing keeps a generator's state between steps: each step seeds torch (dropout) anew from the experiment's seed, the
stage, the step and the rank. A checkpoint therefore holds the randomness of a run by holding its seed and its step.
What stays non-deterministic: on CUDA the backward of RoI pooling and of bilinear resizing add with atomics; on CPU the
order of sums depends on the number of threads, so bit equality is for equal threads.
"""

import hashlib

import torch


def key_of(*parts: int | str) -> int:
    """A seed in [0, 2**63) from the parts; different parts, different seeds.

    >>> key_of(0, "loop", 7) == key_of(0, "loop", 7), key_of(0, "loop", 7) == key_of(0, "loop", 8)
    (True, False)
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def seed_step(seed: int, stage: str, step: int, rank: int) -> None:
    """Seed torch, on every device, for one optimizer step on one rank."""
    torch.manual_seed(key_of(seed, stage, step, rank))


def tie_breaker(seed: int, stage: str, step: int, image_id: str, device: torch.device) -> torch.Generator:
    """The generator that breaks ties in one image's targets: the same whichever rank holds the image."""
    return torch.Generator(device=device).manual_seed(key_of(seed, stage, step, image_id))
