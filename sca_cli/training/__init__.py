"""Training on rollouts: `data` picks the tokens, `packing` lays them out, `sft` fits a model, `work` resumes.

Imported only by `sca train` and `sca distill`; torch, transformers, trl and peft are loaded inside functions.
"""
