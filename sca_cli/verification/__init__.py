"""Decide which tasks are kept: the paper's filter, the proofs after it, and the funnel that counts them."""
