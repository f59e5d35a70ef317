"""Methods to compare with, plugged into the registry of `revo_ray.methods`."""

from .auto_rgn import AutoRGN
from .biotune import BioTune
from .gradient import First, Full, Last
from .layer_decay import LayerDecay
from .random import Random
from .set_encoding import SetEncoding

METHODS = (Full, First, Last, LayerDecay, AutoRGN, SetEncoding, BioTune, Random)
