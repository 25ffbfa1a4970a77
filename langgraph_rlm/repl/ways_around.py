"""Ways around: what code writes in place of a module that its interpreter does not have."""

PLAIN = "Write it in plain Python."

NUMBERS = "Work with lists, dicts, sum() and sorted()."
PARALLEL = "llm_query_batched runs calls in parallel."
NO_NETWORK = "There is no network: work on the inputs."
NO_FILES = "There are no files but in out/: the inputs are `context`, peek() and grep()."
LEAVE_OUT = "Leave it out."
TAGS = "Find the tags with `re`."

WAYS = {
    "numpy": NUMBERS,
    "pandas": NUMBERS,
    "polars": NUMBERS,
    "scipy": NUMBERS,
    "sklearn": NUMBERS,
    "concurrent": PARALLEL,
    "threading": PARALLEL,
    "multiprocessing": PARALLEL,
    "queue": PARALLEL,
    "requests": NO_NETWORK,
    "httpx": NO_NETWORK,
    "aiohttp": NO_NETWORK,
    "urllib": NO_NETWORK,
    "http": NO_NETWORK,
    "socket": NO_NETWORK,
    "openai": "llm_query asks a model.",
    "shutil": NO_FILES,
    "glob": NO_FILES,
    "tempfile": NO_FILES,
    "pickle": NO_FILES,
    "sqlite3": NO_FILES,
    "subprocess": LEAVE_OUT,
    "enum": "Use a class of `name = value`, or plain strings.",
    "abc": LEAVE_OUT,
    "contextlib": "Use try and finally.",
    "zoneinfo": "Use datetime.timezone with an offset.",
    "pytz": "Use datetime.timezone with an offset.",
    "dateutil": "Use datetime.strptime with a format.",
    "difflib": "Compare sets of lines or of words.",
    "fractions": "Use decimal.",
    "uuid": "Number things, or use hashlib.",
    "traceback": "print(error) shows the error.",
    "logging": "Use print.",
    "pprint": "Use print, or json.dumps(x, indent=1).",
    "ast": "json.loads reads values from text.",
    "html": TAGS,
    "xml": TAGS,
    "bs4": TAGS,
    "lxml": TAGS,
    "yaml": "Split the lines at their colons.",
}
"""By the module's first name."""


def way_around(module: str) -> str:
    """Give the way around a module, as a sentence."""
    return WAYS.get(module.partition(".")[0], PLAIN)
