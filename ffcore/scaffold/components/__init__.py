"""One small component of each noun, the first version of a new plugin. `Mine` and ``mine`` are replaced."""
