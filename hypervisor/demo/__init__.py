"""Example organizations for a first look.

`company` creates them, `workshop` is the part on a real Docker Engine, `removal` removes them,
`progress` is for the page that starts them.
"""
