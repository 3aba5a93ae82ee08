"""What makes the kernels fast: libraries of products, threads, memory that is kept, and compiled loops."""
