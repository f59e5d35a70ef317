"""CMA-MV as a searcher for any Ray Tune experiment."""
