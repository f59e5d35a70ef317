"""One adaptor per algorithm of the `cmaes` library: a space's variables in its coordinates."""
