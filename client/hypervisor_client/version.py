"""The client's version, without importing the rest of it."""

VERSION = "0.1.0"
