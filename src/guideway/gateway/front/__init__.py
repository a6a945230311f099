"""Configurations of load balancers that stand in front of several gateways."""
