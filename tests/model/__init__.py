"""A model of the cut-off warnings: random lives, and a judge who knows what may happen in them."""
