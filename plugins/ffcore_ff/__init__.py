"""Forward-Forward (Hinton 2022, arXiv:2212.13345) and variants."""
