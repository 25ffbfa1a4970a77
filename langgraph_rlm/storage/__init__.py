"""Storage: values too large for state, kept by the digest of their bytes, and reads of them."""
