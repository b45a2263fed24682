"""Code that several verbs share. It imports no verb.

- `verb`, `options`, `grouped`: the class of every verb, the options that several verbs have, and groups of options.
- `shell`, `limits`, `error_note`: opening models, driving records through a verb, limits of tasks, errors of records.
- `acting`: the options of attempts, and opening the agent and the customer. `attempts`: the attempts themselves.
- `attempting`: attempts that `train` and `distill` make; `training`, `train_stages`, `online`, `weights`: training.
- `eval_against`, `eval_suite`: overlap with training data, and benchmarks.
"""
