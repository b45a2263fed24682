"""Code that several verbs share: options and help, models, limits, attempts and training. It imports no verb."""
