"""Container engines, asked by building with them."""
