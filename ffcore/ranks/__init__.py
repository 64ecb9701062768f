"""Training of one network by several processes: launching, communication, and the two strategies."""
