"""Coverage: what of a context was read, sent to models, shown to them; and quotes, checked.

Nothing is claimed that is not known: each range that is given as seen has been compared, byte for
byte, with what a model was sent. Never asks a model, and never changes a run.
"""
