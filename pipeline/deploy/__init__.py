"""Build container images and Flex Templates for Dataflow."""
