"""Gymnasium environments of the methods; importing this package registers them."""

from gymnasium import register

register(
    id="unseen/Captions-v0",
    entry_point="methods.environments.captions:CaptionsEnv",
    vector_entry_point="methods.environments.captions:CaptionsVectorEnv",
)
register(
    id="unseen/Centroids-v0",
    entry_point="methods.environments.centroids:CentroidsEnv",
    vector_entry_point="methods.environments.centroids:CentroidsVectorEnv",
)
register(
    id="unseen/Localities-v0",
    entry_point="methods.environments.localities:LocalitiesEnv",
    vector_entry_point="methods.environments.localities:LocalitiesVectorEnv",
)
