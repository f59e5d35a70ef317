"""Methods to compare with, each plugged in through the registry of `revo_ray`."""

from baselines.auto_rgn import AutoRGN
from baselines.gradient import First, Full, Last
from baselines.layer_decay import LayerDecay
from baselines.random import Random
from baselines.set_encoding import SetEncoding

METHODS = (Full, First, Last, LayerDecay, AutoRGN, SetEncoding, Random)
