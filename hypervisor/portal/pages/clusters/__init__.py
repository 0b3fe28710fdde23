"""The pages of clusters.

base          what the pages of one cluster share
overview      one cluster: its nodes and what runs there
steering      cordon, drain and resize it or a node, after a preview
changes       adding a cluster and its nodes, renaming it, deleting both
"""
