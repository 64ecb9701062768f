"""Bodies for sequences: embeddings, attention, recurrent layers and one-dimensional convolutions."""
