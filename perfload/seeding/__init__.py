"""The data set of database load: the AI-model system's users, models and metrics, made from a seed.

`documents` makes it, `claim` notes in a database that perfload has made it, `fill` puts it there and takes it
away again.
"""
