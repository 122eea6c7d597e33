"""The detector. Empty on purpose: importing sdcn_core.config must not cost torch."""
