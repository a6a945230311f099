"""The controller and what is asked of it: a loop over durable rows that may die at any time."""
