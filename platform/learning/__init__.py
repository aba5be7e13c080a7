"""How methods learn: populations of stacked members, methods made of one module, and what every method must keep."""
