"""Tables: what of the contexts is also a table, and SQL over it in locked-in workers."""
