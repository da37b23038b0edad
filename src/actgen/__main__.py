"""`python -m actgen`, which is how torchrun and accelerate start it."""

from .cli.app import main

main()
