"""Methods to compare with, each plugged in through the registry of `revo_ray`."""

from baselines.random import Random

METHODS = (Random,)
