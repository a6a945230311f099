"""From a spec to a sealed release: plan, run, judge, seal. It ends."""
