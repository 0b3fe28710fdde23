"""The operators' pages about what is scheduled and how it was decided; one module a page."""
