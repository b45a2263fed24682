"""Which tasks are kept: the paper's filter and what follows."""
