"""Stand-in for what Monty's `functools` lacks. Functions keep no names there, so none is copied."""

__all__ = ["update_wrapper", "wraps"]


def wraps(wrapped, *_names, **_options):
    return lambda wrapper: wrapper


def update_wrapper(wrapper, wrapped, *_names, **_options):
    return wrapper
