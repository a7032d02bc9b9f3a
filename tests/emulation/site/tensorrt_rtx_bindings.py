"""The real TensorRT-RTX, where it is installed, is not what programs on the emulated driver are to find."""

raise ImportError("No module named 'tensorrt_rtx_bindings'")
