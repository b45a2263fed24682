"""Run one attempt at a task: the agent loop, its actions, the simulated customer, the judge."""
