"""What is shown of results: tables, and what they are made of."""
