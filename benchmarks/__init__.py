"""`make bench`: measures the cost of a review, as ratios from one interleaved run. It shows the machine's noise too."""
