"""One training on several processes, which mpiexec starts."""
