"""`make bench`: what a review costs, in ratios from one interleaved run. Not a test: the machine's noise is shown."""
