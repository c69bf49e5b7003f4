"""A sample experiment, written with our own writer."""
