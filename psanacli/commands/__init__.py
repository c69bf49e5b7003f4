"""The command `psana`: one file a verb, and what the verbs share.

A verb `x` is the module `x.py` with the click command `command` (made with `common.verb`), and a line in
`main.VERBS`.  It parses options, calls the rooms below and prints; it computes nothing itself.
"""
