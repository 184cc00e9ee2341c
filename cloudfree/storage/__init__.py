"""Where a product lies and who may write there: folders, object stores, lease, ledger.

``outputs`` is an address and what can be done at it, ``buckets`` the part that knows obstore,
``lease`` lets one run write at a time, ``ledger`` holds the state and the marks of what is done.
Imports only ``core``. ``product`` writes through it, ``walk`` marks, ``engine`` resumes.
docs/internals/outputs.md says more.
"""
