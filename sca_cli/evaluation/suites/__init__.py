"""Run benchmarks as suites of held-out tasks: `open_suite` lists a suite's tasks; `Suite` judges attempts.

An environment is a suite if it accepts the option `listing=yes`: it then has no tools, and its state is a `Listing`. So
the code of a benchmark runs inside the jail like that of any environment, and only plain data leaves the jail.
"""

from sca_cli.evaluation.suites.failures import failure_cases
from sca_cli.evaluation.suites.listing import Listing, parse_suite
from sca_cli.evaluation.suites.scoring import Suite, open_suite

__all__ = ["Listing", "Suite", "failure_cases", "open_suite", "parse_suite"]
