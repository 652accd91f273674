"""Whether adapters keep their word: the same checks for each provider, over HTTP, against its fake or itself.

To add a provider: write its fake as a `Provider` (provider.py), name it in providers.py. To see the table:
``python -m tests.conformance``.
"""
