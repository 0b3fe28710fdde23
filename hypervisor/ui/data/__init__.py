"""Data that pages compute from tables: timelines, occupancy, the data of one cluster."""
