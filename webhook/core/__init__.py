"""Decides what a pod gets: a pod and a configuration in, a decision out. No I/O, no clock, no framework."""
