"""The dashboard: a local web page over the files that runs leave, and the API that it is made of.

Nothing here works anything out about a market. It reads what runs have written, does a finished run again where bars
and fills are asked for, and starts new runs as processes of their own. See docs/dashboard.md.
"""
