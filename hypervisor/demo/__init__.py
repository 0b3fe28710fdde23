"""A company for a first look: `company` makes it, `workshop` is its part on a real Docker Engine,
`removal` finds what the demo made and removes it.
"""
