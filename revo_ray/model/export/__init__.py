"""The best model of a search in forms that others load: a folder, ONNX, a torch program."""
