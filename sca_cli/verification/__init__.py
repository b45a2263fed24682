"""Decide which tasks are kept: the paper's filter, the stages after it, and the funnel that counts them."""
