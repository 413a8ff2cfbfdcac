"""Methods with every option resolved."""
