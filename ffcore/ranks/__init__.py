"""Several processes that train one network: what they share, how they start, and how they end."""
