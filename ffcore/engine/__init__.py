"""The parts of ffcore that depend on Lightning: the module, meters and callbacks."""
