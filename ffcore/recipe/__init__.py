"""What a recipe may say, and how it is read. Imports no torch."""
