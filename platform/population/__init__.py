"""Many small networks trained at once: stacked layers, an optimiser with a rate per member, and seeded draws."""
