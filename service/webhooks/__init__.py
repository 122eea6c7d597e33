"""Calling those who asked to be told: signed, tried again until it arrives, never where it must not reach."""
