"""Channel-class learning: channels of a convolution work for classes, every layer classifies by itself."""
