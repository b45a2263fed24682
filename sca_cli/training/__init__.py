"""Training on rollouts.

`data` turns rollouts into token sequences (with `rendering`), `selection` chooses among them, `solutions` makes
rollouts from verified tasks. `batching` orders the examples, `packing` lays out a batch. `trainer` trains the model for
any algorithm, each of which is a `Learner`: `sft`, `preference`, `online`. `weights` loads and writes the model, `work`
finds the checkpoint from which a run resumes, `memory` decides what a pass recomputes.

Only `sca train` and `sca distill` import this package. torch, transformers and peft are imported inside functions.
"""
