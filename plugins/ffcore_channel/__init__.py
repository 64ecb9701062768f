"""Channel-class learning: channels of a convolution belong to classes, and every layer classifies."""
