"""Helpers for plugins: tool arguments, arithmetic, data tables, chat formats, replies, model files.

Plugins import the modules of this folder directly; everything without a leading underscore is public:

- `arguments`: check the arguments of a tool call.
- `arithmetic`: compute an expression without running code.
- `schemas`: bring JSON Schemas into one form, match values, name types.
- `tables`: read JSON tables and check their shapes.
- `chat_format`: render messages with a model's chat template, and parse tool calls.
- `replies`: read the reply of a model: reasoning, stop texts, tool calls written as JSON.
- `conversation`: change a conversation into one that a strict server or chat template accepts.
- `model_files`: find a model's directory, or download it from the hub.
"""
