"""Files that the demo needs: garments.png, a sheet of sprites, and garments.onnx, the detector."""
