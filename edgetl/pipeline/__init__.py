"""The stages in their order: the only room that knows it. Every command ends up here.

The workshop's libraries are imported when a function that needs them is called, so that the
device half works where they are not installed.
"""
