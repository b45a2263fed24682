"""One attempt at a task: agent, actions, customer, judge."""
