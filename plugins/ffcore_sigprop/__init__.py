"""Signal propagation: targets travel through the same layers as the samples."""
