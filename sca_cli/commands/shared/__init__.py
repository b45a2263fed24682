"""What several verbs share: options, opening models, attempting tasks and training."""
