"""plyvel's own test-suite, run against wrapped handles.

`test_plyvel.py` is the file of that name from plyvel 1.5.1's source distribution, unchanged
(`LICENSE.rst` is its licence); `conftest.py` puts a wrapped handle wherever it makes a
``plyvel.DB``.
"""
