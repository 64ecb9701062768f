"""Lightning's side of the house: the module, its one optimiser, meters and callbacks."""
