"""What pages show that no table holds as it is: timelines, occupancy, the data of one cluster."""
