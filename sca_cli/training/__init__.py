"""Training on rollouts.

`data` turns rollouts into token sequences (with `rendering`), `selection` chooses among them, `solutions` makes
rollouts from verified tasks. `batching` orders the examples, `packing` lays out a batch, `sft` trains the model,
`weights` loads and writes it, `work` finds the checkpoint from which a run resumes.

Only `sca train` and `sca distill` import this package. torch, transformers, trl and peft are imported inside functions.
"""
