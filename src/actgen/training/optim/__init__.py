"""How the weights move."""
