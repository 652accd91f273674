"""A model of the cut-off warnings: random lives of customers, and a judge who knows what may happen in them."""
