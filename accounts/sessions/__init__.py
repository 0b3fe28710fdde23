"""Sessions of browsers.

engine      how Django stores a session; its key is stored only as a digest
services    what a person has open, and its end
"""
