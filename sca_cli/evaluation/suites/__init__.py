"""Benchmarks as sets of held-out tasks: `open_suite` asks a world of the benchmark for them, and scores by states.

An environment is a suite if it takes the option `listing=yes`: it then has no tools, and its state is a `Listing`.
So a benchmark's code runs where every environment runs, in the world's jail; only plain data comes out.
"""

from sca_cli.evaluation.suites.failures import failure_cases
from sca_cli.evaluation.suites.listing import Listing, parse_suite
from sca_cli.evaluation.suites.scoring import Suite, open_suite

__all__ = ["Listing", "Suite", "failure_cases", "open_suite", "parse_suite"]
