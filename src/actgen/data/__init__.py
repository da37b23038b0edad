"""Room 4: image sets, splits, the store and the mixture that training reads."""
