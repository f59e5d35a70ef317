"""The models that users take away: train, export and predict."""
