"""Networks from files and into files: checkpoints, published weights, ONNX, safetensors."""
