"""Methods to compare with, plugged into the registry of `revo_ray.methods`."""

from baselines.auto_rgn import AutoRGN
from baselines.gradient import First, Full, Last
from baselines.layer_decay import LayerDecay
from baselines.random import Random
from baselines.set_encoding import SetEncoding

METHODS = (Full, First, Last, LayerDecay, AutoRGN, SetEncoding, Random)
