"""Training of one network by several processes: launching, communication, and the three strategies."""
