"""Export the best model of a search: as a folder, an ONNX file or a torch program."""
