"""The backend: compiled models, and bounded pools of their infer requests."""
