"""What containers write: `store` reads it from the engine or from what was kept of it, `readers`
bounds the threads that read, `follow_limit` bounds the followers.
"""
