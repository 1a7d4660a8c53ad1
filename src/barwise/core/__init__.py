"""The pure core: arrays in, records out. No clock, no files, no network; numpy and numba alone."""
