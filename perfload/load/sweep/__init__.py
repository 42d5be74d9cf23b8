"""The shape of one level of a sweep.

It is alone in its folder: Locust puts the folder of a file first on the path while it loads it, and modules
of `perfload.load` have names that others have too.
"""
