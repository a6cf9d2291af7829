"""Networks: multilayer perceptron, plain convolutional networks, residual networks."""
