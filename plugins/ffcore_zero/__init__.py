"""Learning without derivatives, from losses of forward passes alone."""
