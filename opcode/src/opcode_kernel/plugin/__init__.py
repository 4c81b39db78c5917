"""The plugin contract: hooks, actions, parameters, policy, and the registry they end up in."""
