"""The rules of a release for prompts and answers, pure: the gateway holds requests to them, an evaluation prompts."""
